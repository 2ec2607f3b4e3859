"""`store="http://…"`: a process without access to the database puts through dispatchers, whatever becomes of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import ap4r
from ap4r.errors import ConfigError, StoreUnavailable, StoreUnusable
from ap4r.message.message import Put, new_id
from ap4r.outbox.intake_client.client import IntakeClient, IntakeRefused
from ap4r.settings.load import load_settings
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from tests.support import storefile
from tests.support.factories import message
from tests.support.probe import wait_until
from tests.support.processes import HOST, free_port

LATER = {"delay_seconds": 3600.0}
TOKEN = "a-token-of-sixteen-characters"


def put_of(count=1, **values):
    """Describe a put."""
    return Put(new_id(), tuple(message(**{**LATER, **values}) for _ in range(count)))


@pytest.fixture
def client():
    """Return clients of intakes, closed with the test."""
    clients = []

    def make(url, **settings):
        clients.append(IntakeClient(url, Settings(**{"store_deadline_seconds": 4.0, **settings})))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


class Answering:
    """A server that reads a request and then answers nothing: "lose" it, "stall", "forward" it and lose the answer."""

    def __init__(self, how, to_port=0):
        self.how, self.to_port, self.requests = how, to_port, 0
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                head = b""
                with suppress(OSError):
                    while b"\r\n\r\n" not in head and (part := connection.recv(65_536)):
                        head += part
                self.requests += 1
                if self.how == "stall":
                    time.sleep(2)
                if self.how == "forward":
                    with suppress(OSError), socket.create_connection((HOST, self.to_port), timeout=5) as other:
                        other.sendall(head + connection.recv(65_536))
                        other.recv(65_536)

    def close(self):
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def answering():
    """Return servers that answer nothing."""
    servers = []

    def make(how, to_port=0):
        servers.append(Answering(how, to_port))
        return servers[-1]

    yield make
    for each in servers:
        each.close()


def stored(system):
    """Count what waits."""
    return storefile.count(system.store, "scheduled")


def test_a_session_puts_through_a_dispatcher(taker, system, target):
    """`ap4r.session("http://…")` needs nothing but the intake's URL, and what it puts is delivered."""
    with ap4r.session(taker.url) as handle:
        given = handle.async_to("/work", {"a": "1"})
    wait_until(lambda: target.requests, "the message is delivered")
    assert [(request.id, request.body) for request in target.requests] == [(given, b"a=1")]


def test_a_request_puts_through_a_dispatcher(taker, system, processes, target):
    """The middleware in gunicorn, loaded before it forks, puts through the intake from each of its workers."""
    (processes.folder / "web.py").write_text(
        "from ap4r.middleware import AP4RMiddleware\n"
        "def inner(environ, start):\n"
        "    environ['ap4r'].async_to('/work', {'a': '1'})\n"
        "    start('200 OK', [('Content-Length', '2')])\n"
        "    return [b'ok']\n"
        "app = AP4RMiddleware(inner)\n"
    )
    port = free_port()
    processes.gunicorn("web:app", port, "--preload", "--workers=2", "--threads=2", AP4R_STORE=taker.url)
    for _ in range(8):
        with urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=20) as answer:
            assert answer.status == 200
    wait_until(lambda: len(target.requests) == 8, "all are delivered")


def test_a_repeat_changes_nothing(taker, system, client):
    """The same put again is taken and stored once."""
    made = put_of(3)
    one = client(taker.url)
    for _ in range(3):
        one.put(made)
    assert stored(system) == 3


def test_a_token_is_shown(start_taker, system, client):
    """The token comes from the settings; of several one that is known will do, and none is an error."""
    taker = start_taker(AP4R_INTAKE_TOKEN=TOKEN)
    client(taker.url, intake_token=("another-token-of-some-length", TOKEN)).put(put_of())
    with pytest.raises(StoreUnavailable, match="token") as refused:
        client(taker.url).put(put_of())
    assert not refused.value.outcome_unknown
    assert TOKEN not in str(refused.value)
    assert stored(system) == 1


def test_a_refused_message_is_reported(taker, client):
    """What no intake would take is an error that says which field, not one to wait out."""
    with pytest.raises(IntakeRefused, match="max_body_bytes"):
        client(taker.url).put(put_of(body=b"x" * (2**20 + 1)))


def test_the_largest_put(taker, system, client):
    """16 MiB of messages go through."""
    client(taker.url, store_deadline_seconds=20.0).put(put_of(15, body=os.urandom(2**20)))
    assert stored(system) == 15


class TestSeveralHosts:
    def test_they_are_used_in_turn(self, start_taker, system, client):
        """With two intakes both are used, and puts go on when either is gone."""
        one, two = start_taker(name="one"), start_taker(name="two")
        both = client(f"{one.url},{two.url}")
        for _ in range(4):
            both.put(put_of())
        one.process.send(signal.SIGTERM)
        for _ in range(4):
            both.put(put_of())
        one.process.wait(20)
        for _ in range(4):
            both.put(put_of())
        assert stored(system) == 12

    def test_one_that_is_not_there(self, taker, system, client):
        """A host that refuses connections costs nothing but the next."""
        both = client(f"http://{HOST}:{free_port()},{taker.url}")
        for _ in range(4):
            both.put(put_of())
        assert stored(system) == 4

    def test_one_that_does_not_answer_leaves_time_for_the_next(self, taker, system, client, answering, stalls):
        """The deadline is for all of them together."""
        both = client(f"{answering('stall').url},{taker.url}", store_deadline_seconds=3.0)
        began = time.monotonic()
        for _ in range(2):
            both.put(put_of())
        ended = time.monotonic()
        assert ended - began < 6.0 + stalls.within(began, ended)
        assert stored(system) == 2

    @pytest.mark.parametrize("how", ["lose", "forward"])
    def test_an_answer_that_was_lost_is_asked_for_elsewhere(self, taker, system, client, answering, how):
        """A put whose answer is lost is repeated, stored before or not, and is stored once."""
        both = client(f"{answering(how, taker.port).url},{taker.url}")
        for _ in range(4):
            both.put(put_of())
        assert stored(system) == 4


def test_no_server_is_there(client):
    """Without any intake nothing is stored, and it is certain."""
    with pytest.raises(StoreUnavailable) as refused:
        client(f"http://{HOST}:{free_port()}").put(put_of())
    assert not refused.value.outcome_unknown


@pytest.mark.parametrize("how", ["lose", "stall"])
def test_an_answer_that_is_lost_for_good_is_not_known(client, answering, how, stalls):
    """Where the outcome is unknown, the error says so, within the deadline."""
    server = answering(how)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as refused:
        client(server.url, store_deadline_seconds=1.5).put(put_of())
    assert refused.value.outcome_unknown
    ended = time.monotonic()
    assert ended - began < 3.0 + stalls.within(began, ended)


def test_a_restart_is_waited_out(start_taker, system, client, processes):
    """A connection that was kept while the dispatcher came again is no error."""
    taker = start_taker()
    one = client(taker.url)
    one.put(put_of())
    taker.process.send(signal.SIGTERM)
    taker.process.wait(20)
    again = processes.twistd_ap4r("--store", system.url, "--listen", f"tcp:{taker.port}:interface={HOST}", name="again")
    processes.wait_until_listening(again, taker.port)
    one.put(put_of())
    assert stored(system) == 2


def test_threads_have_connections_of_their_own(taker, system, client):
    """Many threads put through one client."""
    one = client(taker.url)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: (one.put(put_of()), one.close()), range(40)))
    assert stored(system) == 40


def test_a_fork_shares_no_connection(taker, system, client):
    """A child opens its own connection, and the parent's stays usable."""
    one = client(taker.url)
    one.put(put_of())
    child = os.fork()
    if not child:
        status = 1
        try:
            one.put(put_of())
            status = 0
        finally:
            os._exit(status)
    one.put(put_of())
    assert os.waitpid(child, 0)[1] == 0
    one.put(put_of())
    assert stored(system) == 4


def test_greenlets(taker, system, processes):
    """Under gevent, with everything patched, greenlets put beside one another."""
    script = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import gevent, ap4r\n"
        "def put(number):\n"
        f"    with ap4r.session({taker.url!r}) as handle: handle.async_to('/x', delay_seconds=3600)\n"
        "gevent.joinall([gevent.spawn(put, n) for n in range(20)], raise_error=True)\n"
    )
    done = processes.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    assert stored(system) == 20


def test_a_unix_socket(system, client):
    """`http+unix:///path` puts over a UNIX socket."""
    path = system.processes.folder / "s"
    process = system.processes.twistd_ap4r("--store", system.url, "--listen", f"unix:{path}")
    process.wait_for_output(f"intake at http+unix://{path}")
    client(f"http+unix://{path}").put(put_of())
    assert stored(system) == 1


class Scripted(ThreadingHTTPServer):
    """A server that keeps connections and answers by a script, its last line for good; `posts` and `opened` count.

    A line is a status, and Retry-After if it has one: 202 as an intake, 200 as an application would, 0 not at all.
    """

    daemon_threads = True

    def __init__(self, *script):
        super().__init__((HOST, 0), _ScriptedRequest)
        self.script, self.posts, self.opened = list(script), [], 0
        self.url = f"http://{HOST}:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self):
        """Serve no more."""
        self.shutdown()
        self.server_close()
        self._thread.join(5)


class _ScriptedRequest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.server.opened += 1
        super().setup()

    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append(time.monotonic())
        script = self.server.script
        status, retry_after = script.pop(0) if len(script) > 1 else script[0]
        if not status:
            self.close_connection = True
            return
        answer = {"message": "busy", "advice": "send it again later; nothing was stored", "outcome_unknown": False}
        if status == 202:
            answer = {"ids": [fields["id"] for fields in told]}
        body = json.dumps({} if status == 200 else answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted():
    """Return servers that answer by a script."""
    servers = []

    def make(*script):
        servers.append(Scripted(*script))
        return servers[-1]

    yield make
    for each in servers:
        each.stop()


def test_a_kept_connection_is_used_again(client, scripted):
    """Ten puts are ten requests over one connection: nothing is sent twice."""
    server = scripted((202, 0))
    one = client(server.url)
    for _ in range(10):
        one.put(put_of())
    assert (len(server.posts), server.opened) == (10, 1)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_after_a_lost_answer_is_asked_again(client, scripted, status):
    """What may be stored is asked for until the deadline, after the pause that the server wishes."""
    server = scripted((0, 0), (status, 1), (202, 0))
    client(server.url).put(put_of())
    assert len(server.posts) == 3
    assert server.posts[2] - server.posts[1] >= 0.99


def test_an_unknown_outcome_is_never_said_to_be_nothing(client, scripted, stalls):
    """A busy server knows nothing of the answer that was lost, and its pause goes no further than the deadline."""
    server = scripted((0, 0), (503, 60))
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="busy") as refused:
        client(server.url, store_deadline_seconds=1.5).put(put_of())
    assert refused.value.outcome_unknown
    assert "nothing was stored" not in str(refused.value)
    assert len(server.posts) >= 2
    ended = time.monotonic()
    assert ended - began < 3.0 + stalls.within(began, ended)


def test_a_server_that_is_busy_at_once_is_reported(client, scripted):
    """Nothing was lost, so it is certain that nothing was stored, and no call waits."""
    server = scripted((503, 1))
    with pytest.raises(StoreUnavailable, match="nothing was stored") as refused:
        client(server.url).put(put_of())
    assert not refused.value.outcome_unknown
    assert len(server.posts) == 1


def test_the_applications_url_is_no_intake(client, scripted, taker, system):
    """A success of another kind of server acknowledges nothing; beside an intake it costs nothing."""
    application = scripted((200, 0))
    with pytest.raises(StoreUnusable, match="application's URL"):
        client(application.url).put(put_of())
    both = client(f"{application.url},{taker.url}")
    both.put(put_of())
    both.put(put_of())
    assert stored(system) == 2


@pytest.mark.parametrize("command", ["status", "dead", "doctor", "migrate"])
def test_what_looks_after_a_store_needs_the_store(processes, command):
    """The commands and the dispatcher refuse an intake as their store, and say why."""
    done = processes.ap4r(command, "--store", "http://127.0.0.1:7438")
    assert (done.returncode, "intake" in done.stderr) == (2, True)


def test_a_dispatcher_of_an_intake_is_refused(processes):
    """There is no forwarder: a dispatcher works on a database."""
    process = processes.twistd_ap4r("--store", "http://127.0.0.1:7438")
    assert process.wait(20) == 1
    assert "intake" in process.output
    with pytest.raises(ConfigError, match="intake"):
        open_store("http+unix:///run/x", load_settings(store="http+unix:///run/x"))
