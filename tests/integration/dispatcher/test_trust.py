"""Who gets into an application: a real dispatcher, real servers, and strangers who try."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time

import pytest

import ap4r
from tests.support import storefile
from tests.support.client import ask
from tests.support.lines import whole_lines
from tests.support.probe import hold_for, wait_until
from tests.support.processes import HOST, free_port
from tests.support.servers import is_installed, start_server
from tests.support.signed import environ_of, headers_of, secret, secret_text, signed_request

SECRETS = {"AP4R_SECRETS": secret_text(1)}


class Guarded:
    """An application behind a server, its port, and the calls that reached its handlers."""

    def __init__(self, processes, server, factory, **environ):
        self.port = free_port()
        self.calls_file = processes.folder / "calls"
        environ = {"TESTS_CALLS": str(self.calls_file), **SECRETS, **environ}
        self.process = start_server(processes, server, self.port, f"tests.support.guarded:{factory}", **environ)

    @property
    def url(self):
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    @property
    def calls(self):
        """Every call that reached a handler, in order."""
        return [json.loads(line) for line in whole_lines(self.calls_file)]

    def wait_for(self, count):
        """Wait for so many calls."""
        wait_until(lambda: len(self.calls) >= count, f"{count} calls", timeout_seconds=20)
        return self.calls


def put(system, *described):
    """Put messages from this process."""
    with ap4r.session(system.url) as handle:
        return [handle.async_to(target, params, **options) for target, params, options in described]


SHAPES = [
    ("/async/work", {"a": "größe"}, {}),
    ("/async/work?b=%2F&c=d%20e", {"a": [1, 2]}, {"format": "json"}),
    ("/async/work", None, {}),
    ("/async/work?only=query", None, {"method": "GET"}),
    ("/async/%67r%C3%B6%C3%9Fe/a%20b;c=d", "text", {"method": "PUT"}),
    ("/async/work", b"\x00\xff", {"queue": "größe 100 %"}),
]


@pytest.mark.parametrize("server", ["wsgiref", "waitress", "app", "gunicorn-sync", "gunicorn-gthread"])
def test_every_server_accepts_only_deliveries(server, processes, system):
    """Whatever a message looks like, its signature verifies behind each server; tricks of strangers do not pass."""
    if not is_installed(server):
        pytest.skip(f"{server} is not installed")
    guarded = Guarded(processes, server, "plain")
    ids = put(system, *SHAPES)
    dispatcher = system.dispatcher(app_url=guarded.url, **SECRETS)
    calls = guarded.wait_for(len(SHAPES))
    assert {call["id"] for call in calls} == set(ids), dispatcher.tail
    assert {call["sender"] for call in calls} == {"ap4r"}
    wait_until(lambda: storefile.count(system.store, "leased", "ready", "scheduled") == 0, "all is settled")
    for line in TRICKS:
        _send(guarded.port, line)
    assert len(guarded.calls) == len(SHAPES) + len(_open_calls(guarded.calls))
    assert ask(guarded.port, "/public").status == 204


TRICKS = [
    "GET /async/work HTTP/1.1",
    "HEAD /async/work HTTP/1.1",
    "OPTIONS /async/work HTTP/1.1",
    "POST /async/work HTTP/1.1",
    "GET /async HTTP/1.1",
    "GET //async/work HTTP/1.1",
    "GET /async//work HTTP/1.1",
    "GET /./async/work HTTP/1.1",
    "GET /x/../async/work HTTP/1.1",
    "GET /x/%2e%2e/async/work HTTP/1.1",
    "GET /x/%252e%252e/async/work HTTP/1.1",
    "GET /%61sync/work HTTP/1.1",
    "GET /async%2fwork HTTP/1.1",
    "GET /async;x=1/work HTTP/1.1",
    "GET /ASYNC/work HTTP/1.1",
    "GET /x\\..\\async\\work HTTP/1.1",
    "GET /async/work/ HTTP/1.1",
    "GET /async/work%00 HTTP/1.1",
    f"GET http://{HOST}/async/work HTTP/1.1",
    "GET /async/work?x HTTP/1.0",
]


def _open_calls(calls):
    # What a server turned into another path before the application saw it is no call of an internal one.
    return [call for call in calls if call["id"] is None and "async" not in call["path"].lower()]


def _send(port, line):
    with socket.create_connection((HOST, port), timeout=10) as connection:
        lines = [line, f"Host: {HOST}", "Connection: close", "X-HTTP-Method-Override: GET", "Content-Length: 0"]
        lines += ["Ap4r-Message-Id: forged", "webhook-id: forged", "webhook-timestamp: 1", "ap4r-signature: v1,AAAA"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        while connection.recv(65_536):
            pass


def test_a_header_named_script_name_opens_nothing(processes):
    """gunicorn makes SCRIPT_NAME of a client's header and takes it from the path: the door stays closed."""
    guarded = Guarded(processes, "gunicorn-sync", "plain")
    for script_name, path in [("/x", "/x/async/work"), ("/pub", "/pubasync/work"), ("/x/y", "/x/y/async/work")]:
        with socket.create_connection((HOST, guarded.port), timeout=10) as connection:
            lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", f"SCRIPT_NAME: {script_name}", "Connection: close"]
            connection.sendall("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
            assert b" 403 " in connection.recv(65_536).split(b"\r\n")[0]
    assert guarded.calls == []


def test_a_chunked_delivery_verifies(processes):
    """A sender that does not tell the length in advance is verified too, and the handler reads the whole body."""
    guarded = Guarded(processes, "gunicorn-sync", "plain")
    request = signed_request(secret(1), url=f"{guarded.url}/async/work", now=time.time(), body=b"0123456789")
    headers = {name: values[0] for name, values in headers_of(request).items()}
    with socket.create_connection((HOST, guarded.port), timeout=10) as connection:
        lines = ["POST /async/work HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        lines += ["Transfer-Encoding: chunked", "Connection: close", "", "4", "0123", "6", "456789", "0", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert b" 204 " in connection.recv(65_536).split(b"\r\n")[0]
    [call] = guarded.wait_for(1)
    assert (call["body"], call["attempt"]) == ("0123456789", 2)


def test_rotation_loses_nothing(processes, system):
    """New secret to the dispatcher beside the old one, then to the application, then the old one goes: all verify."""
    old, new = secret_text(1), secret_text(2)
    config = processes.folder / "ap4r.toml"
    held = processes.folder / "held"
    config.write_text('[upstreams.app]\nsecrets = ["file:held"]\n')
    held.write_text(old)
    guarded = Guarded(processes, "waitress", "plain")
    dispatcher = system.dispatcher("--config", str(config), app_url=guarded.url)
    put(system, ("/async/work", None, {}))
    guarded.wait_for(1)
    held.write_text(f"{new}\n{old}\n")
    dispatcher.send(signal.SIGHUP)
    dispatcher.wait_for_output("read again")
    put(system, ("/async/work", None, {}))
    guarded.wait_for(2)
    held.write_text("whsec_nonsense")
    dispatcher.send(signal.SIGHUP)
    dispatcher.wait_for_output("could not be read again")
    put(system, ("/async/work", None, {}))
    guarded.wait_for(3)
    for text in (old, new, "whsec_nonsense"):
        assert text.removeprefix("whsec_") not in dispatcher.output


def test_another_secret_is_reported_on_both_sides(processes, system):
    """A dispatcher whose secret is not the application's gets 403s; both logs say why, and none says a secret."""
    guarded = Guarded(processes, "waitress", "plain")
    put(system, ("/async/work", None, {}), ("/async/work", None, {}))
    dispatcher = system.dispatcher(app_url=guarded.url, AP4R_SECRETS=secret_text(9))
    dispatcher.wait_for_output("the application does not share the dispatcher's secret: see secrets of [upstreams.app]")
    assert guarded.calls == []
    assert secret_text(9).removeprefix("whsec_") not in dispatcher.output


def test_internal_without_a_secret_does_not_start(processes):
    """The server ends at once, with the command that makes a secret."""
    ended = processes.run(sys.executable, "-c", "from tests.support.guarded import plain; plain()")
    assert ended.returncode != 0
    assert "ap4r init" in ended.stderr


HOST_AND_SCHEME = '[upstreams.app]\nhost = "shop.example.com"\nscheme = "https"\n'


def _dispatch_with(system, processes, guarded, text, **environ):
    config = processes.folder / "ap4r.toml"
    config.write_text(text)
    return system.dispatcher("--config", str(config), app_url=guarded.url, **environ)


def test_django_as_in_production_takes_deliveries(processes, system):
    """DEBUG off, ALLOWED_HOSTS, redirect to https, CSRF on: with host, scheme and secret the call is let in."""
    guarded = Guarded(processes, "gunicorn-sync", "django")
    put(system, ("/async/work", {"number": "1"}, {}), ("/async/decorated", {"number": "2"}, {}))
    _dispatch_with(system, processes, guarded, HOST_AND_SCHEME, **SECRETS)
    assert [call["sender"] for call in guarded.wait_for(2)] == ["ap4r"] * 2


@pytest.mark.parametrize(
    ("text", "secrets", "without_bridge", "hint"),
    [
        ("", SECRETS, "", "set host of"),
        ('[upstreams.app]\nhost = "shop.example.com"\n', SECRETS, "", 'set scheme = "https"'),
        (HOST_AND_SCHEME, {}, "", "set a secret"),
        (HOST_AND_SCHEME, SECRETS, "1", "ap4r.contrib.django"),
        (HOST_AND_SCHEME, {"AP4R_SECRETS": secret_text(9)}, "", "the same secrets"),
    ],
)
def test_what_keeps_a_call_out_of_django_is_said(text, secrets, without_bridge, hint, processes, system):
    """Each missing piece is named in the dispatcher's log, with the setting to change; the view is not reached."""
    guarded = Guarded(processes, "gunicorn-sync", "django", TESTS_WITHOUT_BRIDGE=without_bridge)
    put(system, ("/async/work", {"number": "1"}, {}))
    dispatcher = _dispatch_with(system, processes, guarded, text, **secrets)
    dispatcher.wait_for_output(hint)
    assert guarded.calls == []


def test_flask_wtf_takes_deliveries(processes, system):
    """CSRFProtect and a form's own token: a verified delivery needs neither."""
    guarded = Guarded(processes, "gunicorn-sync", "flask")
    put(system, ("/async/work", {"number": "1"}, {}))
    system.dispatcher(app_url=guarded.url, **SECRETS)
    assert guarded.wait_for(1)[0]["body"] == "1"


@pytest.mark.parametrize(("factory", "status"), [("django", 403), ("flask", 400)])
@pytest.mark.parametrize("number", [None, 9])
def test_a_stranger_needs_a_token(factory, status, number, processes):
    """No signature, or one by another secret, gives no exemption, whatever else the request claims."""
    guarded = Guarded(processes, "gunicorn-sync", factory)
    headers = {"Host": "shop.example.com", "X-Forwarded-Proto": "https", "Ap4r-Message-Id": "x", "Ap4r-Attempt": "1"}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    if number is not None:
        request = signed_request(secret(number), url=f"{guarded.url}/async/work", now=time.time(), body=b"number=1")
        environ = environ_of(request)
        headers |= {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith(("HTTP_AP4R", "HTTP_WEBHOOK"))
        }
    answer = ask(guarded.port, "/async/work", method="POST", body=b"number=1", headers=headers)
    assert answer.status == status
    hold_for(0.2, lambda: guarded.calls == [], "no call is accepted")


def test_doctor_shows_whether_the_secret_is_shared(processes, system):
    """Both have the secret; then the application has another one; then it is unreachable."""
    guarded = Guarded(processes, "waitress", "plain")
    other = Guarded(processes, "waitress", "plain", AP4R_SECRETS=secret_text(9))
    health = f"tcp:{free_port()}:interface={HOST}"
    system.dispatcher("--listen", health, app_url=guarded.url, **SECRETS)

    def doctor(**environ):
        asked = {"AP4R_STORE": system.url, "AP4R_LISTEN": health, "AP4R_APP_URLS": guarded.url, **environ}
        return processes.ap4r("doctor", **asked)

    well = doctor(**SECRETS)
    assert well.returncode == 0, well.stdout
    assert "the dispatcher at" in well.stdout
    assert f"the application at {guarded.url} shares the secret" in well.stdout
    apart = doctor(**SECRETS, AP4R_APP_URLS=other.url)
    assert apart.returncode == 1
    assert f"the application at {other.url} does not verify" in apart.stdout
    changed = doctor(AP4R_SECRETS=secret_text(5))
    assert "signs with other secrets" in changed.stdout
    away = doctor(**SECRETS, AP4R_APP_URLS=f"http://{HOST}:{free_port()}")
    assert "could not be checked" in away.stdout
    assert "not signed" in doctor().stdout
    for ended in (well, apart, changed, away):
        assert secret_text(1).removeprefix("whsec_") not in ended.stdout + ended.stderr
