"""Upstreams as a real dispatcher calls them: UNIX sockets, TLS of one's own, proxies, credentials, rules, refusals."""

from __future__ import annotations

import base64
import signal
import ssl

import pytest

import ap4r
from tests.support import storefile
from tests.support.certificates import issue
from tests.support.probe import wait_until
from tests.support.processes import HOST, free_port
from tests.support.recorder import Recorder
from tests.support.wsdl import DONE, SCHEMA, WSDL


@pytest.fixture
def recorder():
    """Create recorders; all are closed with the test."""
    made = []

    def make(**options):
        made.append(Recorder(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def configured(system, text, **environ):
    """Start a dispatcher with a settings' file; return it and the file."""
    config = system.processes.folder / "ap4r.toml"
    config.write_text(f'store = "{system.url}"\nlisten = "none"\n{text}')
    dispatcher = system.processes.twistd_ap4r("--config", str(config), **environ)
    wait_until(
        lambda: storefile.owners(system.store),
        "it has registered",
        timeout_seconds=20,
        otherwise=lambda: dispatcher.tail,
    )
    return dispatcher, config


def send(system, config, *targets):
    """Put messages as an application that has the same settings."""
    with ap4r.session(config=config) as handle:
        return [handle.async_to(target, {"a": "1"}) for target in targets]


def test_a_unix_socket(system, recorder, tmp_path):
    """A server behind a socket file is called like another."""
    server = recorder(path=tmp_path / "app.sock")
    _, config = configured(
        system, f'[upstreams.web]\nservers = ["unix:{tmp_path}/app.sock"]\nhost = "shop.example.com"\n'
    )
    send(system, config, "web:/work?x=1")
    system.wait_until_empty()
    assert server.heads[0].startswith("POST /work?x=1 HTTP/1.1\r\n")
    assert "\r\nHost: shop.example.com" in server.heads[0]


@pytest.mark.parametrize(
    ("proxied", "name"), [(False, "inner.example"), (True, "inner.example"), (False, "a_b--c.example")]
)
def test_https_with_a_certificate_of_ones_own(system, recorder, tmp_path, proxied, name):
    """The authority of the settings is trusted, the client's certificate is shown, SNI names the server."""
    served, own = issue(tmp_path / "server", name), issue(tmp_path / "client", "dispatcher")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served.certificate, served.key)
    context.load_verify_locations(own.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    names = []
    context.sni_callback = lambda _, told, __: names.append(told)
    server, proxy = recorder(tls=context), recorder(tunnels=True)
    (tmp_path / "proxy-secret").write_text("me:pass\n")
    more = f'proxy = "http://{HOST}:{proxy.port}"\nproxy_auth = "basic:file:proxy-secret"\n' if proxied else ""
    dispatcher, config = configured(
        system,
        f'[upstreams.web]\nservers = "https://{HOST}:{server.port}/base"\nserver_name = "{name}"\n'
        f'ca = "{served.authority}"\ncertificate = "{own.certificate}"\nkey = "{own.key}"\n{more}',
    )
    send(system, config, "web:/work", "web:/work")
    system.wait_until_empty()
    assert len(server.heads) == 2, dispatcher.tail
    assert server.heads[0].startswith("POST /base/work HTTP/1.1\r\n")
    assert set(names) == {name}
    assert all(server.peers)
    assert [head.split("\r\n")[0] for head in proxy.heads[:1]] == (
        [f"CONNECT {HOST}:{server.port} HTTP/1.1"] if proxied else []
    )
    if proxied:
        secret = base64.b64encode(b"me:pass").decode()
        assert f"Proxy-Authorization: Basic {secret}" in proxy.heads[0]
        assert secret not in server.heads[0]


@pytest.mark.parametrize("wrong", ["authority", "outer.example", "a_b--c.example"])
def test_https_is_checked_as_the_settings_say(system, recorder, tmp_path, wrong):
    """A server of another authority, or of another name than `server_name`, is sent nothing; the message waits."""
    served, other = issue(tmp_path / "server", "inner.example"), issue(tmp_path / "other", "inner.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served.certificate, served.key)
    server = recorder(tls=context)
    name, authority = ("inner.example", other) if wrong == "authority" else (wrong, served)
    dispatcher, config = configured(
        system,
        f'[upstreams.web]\nservers = "https://{HOST}:{server.port}"\nserver_name = "{name}"\n'
        f'ca = "{authority.authority}"\n',
    )
    send(system, config, "web:/work")
    dispatcher.wait_for_output("target web is held")
    assert "tls failed" in dispatcher.output
    assert server.heads == []
    assert system.dead() == {}


def test_a_wsdl_is_fetched_as_the_upstream_is_called(system, recorder, tmp_path):
    """With its authority, the client's certificate and its credentials; what the WSDL refers to elsewhere sees none."""
    served, own = issue(tmp_path / "server", HOST), issue(tmp_path / "client", "dispatcher")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served.certificate, served.key)
    context.load_verify_locations(own.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    other = recorder(bodies={"/other.xsd": SCHEMA})
    wsdl = WSDL.format(
        more=f'<x:include schemaLocation="own.xsd"/><x:include schemaLocation="http://{HOST}:{other.port}/other.xsd"/>'
    ).encode()
    server = recorder(tls=context, bodies={"/svc?wsdl": wsdl, "/own.xsd": SCHEMA, "/call": DONE})
    dispatcher, config = configured(
        system,
        f'[upstreams.web]\nservers = "https://{HOST}:{server.port}"\nauth = "basic:env:WEB"\n'
        f'ca = "{served.authority}"\ncertificate = "{own.certificate}"\nkey = "{own.key}"\n',
        WEB="me:pass",
    )
    with ap4r.session(config=config) as handle:
        for wsdl in ("web:/svc?wsdl", f"https://{HOST}:{server.port}/svc?wsdl"):
            handle.async_to("web:/call", {"id": 5}, protocol="soap", action="Go", wsdl=wsdl)
    system.wait_until_empty()
    assert system.dead() == {}, dispatcher.tail
    called = sorted(head.split()[1] for head in server.heads)
    assert called == ["/call", "/call", "/own.xsd", "/own.xsd", "/svc?wsdl", "/svc?wsdl"], dispatcher.tail
    shown = "Authorization: Basic " + base64.b64encode(b"me:pass").decode()
    assert all(shown in head for head in server.heads)
    assert all(server.peers)
    assert [head.split()[1] for head in other.heads] == ["/other.xsd"] * 2
    assert not any("Authorization" in head for head in other.heads)


def test_http_by_a_proxy_with_credentials(system, recorder):
    """The proxy is asked for the whole URL; the token comes from the environment and is nowhere else."""
    proxy = recorder()
    dispatcher, config = configured(
        system,
        f'[upstreams.web]\nservers = "http://server.example:81"\nproxy = "http://{HOST}:{proxy.port}"\n'
        'auth = "bearer:env:WEB_TOKEN"\n',
        WEB_TOKEN="tok-12345",
    )
    send(system, config, "web:/work")
    system.wait_until_empty()
    [head] = proxy.heads
    assert head.startswith("POST http://server.example:81/work HTTP/1.1\r\n")
    assert "\r\nAuthorization: Bearer tok-12345" in head
    assert "\r\nHost: server.example:81" in head
    assert "tok-12345" not in dispatcher.output
    assert b"tok-12345" not in b"".join(path.read_bytes() for path in system.store.parent.glob("ap4r.db*"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_other_credentials_costs_no_attempt(system, recorder, scheme):
    """The server has seen nothing of the message, so it waits, `once` too."""
    proxy = recorder(status=407)
    dispatcher, config = configured(
        system, f'[upstreams.web]\nservers = "{scheme}://server.example"\nproxy = "http://{HOST}:{proxy.port}"\n'
    )
    with ap4r.session(config=config) as handle:
        sent = [handle.async_to("web:/work", delivery=delivery) for delivery in ("once", "repeated")]
    dispatcher.wait_for_output("target web is held")
    assert "the proxy" in dispatcher.output
    dispatcher.send(signal.SIGTERM)
    dispatcher.wait(20)
    assert [storefile.look_for(system.store, one).failures for one in sent] == [0, 0]
    assert system.dead() == {}
    assert proxy.heads


@pytest.mark.parametrize("named", [True, False])
def test_absolute_urls_by_a_proxy(system, recorder, named):
    """The setting names it or has the usual variables read; no_proxy is called directly, and deny_hosts holds."""
    proxy, direct = recorder(), recorder()
    url = f"http://{HOST}:{proxy.port}"
    dispatcher, config = configured(
        system,
        f'deny_hosts = ["denied.example"]\nno_proxy = ["{HOST}"]\nproxy = "{url if named else "environment"}"\n',
        **({} if named else {"HTTP_PROXY": url}),
    )
    with ap4r.session(config=config) as handle:
        handle.async_to("http://server.example:81/work?a=1")
        handle.async_to(f"http://{HOST}:{direct.port}/work")
        denied = handle.async_to("http://denied.example/work")
    system.wait_until_empty()
    assert [head.split("\r\n")[0] for head in proxy.heads] == ["POST http://server.example:81/work?a=1 HTTP/1.1"]
    assert [head.split("\r\n")[0] for head in direct.heads] == ["POST /work HTTP/1.1"]
    assert list(system.dead()) == [denied], dispatcher.tail


def test_a_refused_address_is_a_dead_letter_at_once(system):
    """Without an attempt's worth of waiting, with its reason; the dispatcher's own address is one."""
    port = free_port()
    config = system.processes.folder / "ap4r.toml"
    config.write_text(
        f'store = "{system.url}"\nlisten = "tcp:{port}:interface={HOST}"\ndeny_networks = ["127.0.0.2"]\n'
        'deny_hosts = ["localhost"]\n[[rewrite]]\nmatch = {path = "/metadata"}\nreplace = {host = "169.254.169.254"}\n'
    )
    system.processes.twistd_ap4r("--config", str(config))
    wait_until(lambda: storefile.owners(system.store), "it has registered", timeout_seconds=20)
    targets = [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://127.0.0.2:9/",
        "http://localhost:9/",
        f"http://{HOST}:{port}/healthz",
        "/metadata/x",
    ]
    sent = send(system, config, *targets)
    system.wait_until_empty()
    dead = system.dead()
    assert {dead[one]["reason"] for one in sent} == {"refused_address"}


def test_rules_and_servers_change_at_sighup(system, target):
    """A rule that cannot be imported changes nothing; a good one is obeyed, a failing one fails its message alone."""
    one, two = target.door("one"), target.door("two")
    (system.processes.folder / "routing.py").write_text(
        'def to_web(url):\n    if "bad" in url:\n        raise KeyError("no place")\n    return "web:" + url\n'
    )
    base = f'app_urls = "{one}"\n[upstreams.web]\nservers = [{{url = "{two}", weight = 2}}]\n'
    dispatcher, config = configured(system, base)

    def doors(*paths):
        return [target.wait_for(1, message=message)[0].door for message in send(system, config, *paths)]

    assert doors("/a", "web:/a") == ["one", "two"]
    before = config.read_text()
    config.write_text(before + '[[rewrite]]\ncall = "routing:missing"\n')
    dispatcher.send(signal.SIGHUP)
    dispatcher.wait_for_output("routing:missing")
    config.write_text(before + '[[rewrite]]\nmatch = {upstream = "app"}\ncall = "routing:to_web"\n')
    dispatcher.send(signal.SIGHUP)
    wait_until(lambda: doors("/a") == ["two"], "the rule is obeyed", otherwise=lambda: dispatcher.tail)
    [bad] = send(system, config, "/bad")
    system.wait_until_empty()
    assert system.dead()[bad]["reason"] == "bad_target"
