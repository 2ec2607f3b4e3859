"""A whole dispatcher without time, sockets, threads or files: a fake clock, a store in memory, targets as scripts."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ap4r.dispatcher.compute.child import NotComputed
from ap4r.dispatcher.dependencies import Dependencies
from ap4r.dispatcher.dispatcher import Dispatcher
from ap4r.events.bus import Events
from ap4r.events.events import Event
from ap4r.message.message import Message
from ap4r.settings.settings import Settings
from tests.support.factories import NOW, put
from tests.support.memory_store import MemoryDatabase, MemoryStore

CLOSE, RESET = object(), object()
#: What a target does after a request has come: pieces to send, CLOSE or RESET, and floats for seconds to wait.
Script = list[Any]


def http(status: int, body: bytes = b"ok", *headers: str) -> Script:
    """Answer whole."""
    lines = [f"HTTP/1.1 {status} As Asked", f"Content-Length: {len(body)}", *headers]
    return ["\r\n".join([*lines, "", ""]).encode() + (b"" if status == 204 else body)]


@dataclass
class Received:
    """A request that reached a target."""

    server: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float


class Connection(StringTransport):
    """One connection to a scripted target, the target's side included."""

    def __init__(self, targets: Targets, server: str, number: int) -> None:
        super().__init__()
        self._targets = targets
        self._server = server
        self._number = number
        self._unread = b""
        self.lost = False

    def write(self, data: bytes) -> None:
        """Receive what the dispatcher sends."""
        super().write(data)
        self._unread += data
        head, separator, body = self._unread.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(body) < int(headers.get("content-length", "0")):
            return
        self._unread = b""
        method, path, _ = first.split(" ", 2)
        received = Received(self._server, method, path, headers, body, self._number, self._targets.clock.seconds())
        self._targets.received.append(received)
        self._play(list(self._targets.script_of(received)))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Receive several pieces."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close from the dispatcher's side."""
        self._lose(ConnectionDone())

    def abortConnection(self) -> None:
        """Break off from the dispatcher's side."""
        self._lose(ConnectionLost())

    def _play(self, script: Script) -> None:
        clock = self._targets.clock
        while script and not self.lost:
            step = script.pop(0)
            if isinstance(step, float):
                clock.callLater(step, self._play, script)
                return
            if step is CLOSE:
                self._lose(ConnectionDone())
            elif step is RESET:
                self._lose(ConnectionLost())
            else:
                clock.callLater(0, self._send, step, script)
                return

    def _send(self, data: bytes, script: Script) -> None:
        if not self.lost:
            self.protocol.dataReceived(data)
            self._play(script)

    def _lose(self, error: Exception) -> None:
        if not self.lost:
            self.lost = True
            self._targets.clock.callLater(0, self.protocol.connectionLost, Failure(error))


@implementer(IAgentEndpointFactory)
class Targets:
    """Every server there is. What is not scripted answers 200 at once."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.received: list[Received] = []
        self.scripts: dict[str, Script | Callable[[Received], Script]] = {}
        self.refusing: set[str] = set()
        self.failing: dict[str, Exception] = {}
        self.stuck: set[str] = set()
        self.connections: list[Connection] = []
        self.attempts: list[str] = []
        self.waiting: list[Callable[[], None]] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the way to a server (IAgentEndpointFactory)."""
        return _Endpoint(self, f"{uri.host.decode()}:{uri.port}")

    def script_of(self, received: Received) -> Script:
        """Return the answer to a request."""
        script = self.scripts.get(received.path, http(200))
        return script(received) if callable(script) else script

    def paths(self) -> list[str]:
        """List the paths that were called, in order."""
        return [received.path for received in self.received]


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, targets: Targets, server: str) -> None:
        self._targets = targets
        self._server = server

    def connect(self, factory: Any) -> Deferred[Any]:
        targets, server = self._targets, self._server
        targets.attempts.append(server)
        if server in targets.refusing:
            return fail(ConnectionRefusedError())
        if server in targets.failing:
            return fail(targets.failing[server])
        if server not in targets.stuck:
            return succeed(self._connected(factory))
        connecting: Deferred[Any] = Deferred()

        def come_about() -> None:
            if not connecting.called:
                connecting.callback(self._connected(factory))

        targets.waiting.append(come_about)
        return connecting

    def _connected(self, factory: Any) -> Any:
        protocol = factory.buildProtocol(None)
        connection = Connection(self._targets, self._server, len(self._targets.connections))
        self._targets.connections.append(connection)
        connection.protocol = protocol
        protocol.makeConnection(connection)
        return protocol


class Inline:
    """Runs calls of the store at once, or after `seconds` of the fake clock, or never while `stuck`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds = 0.0
        self.stuck = False
        self.held: list[Callable[[], None]] = []

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def run(self, call: Callable[[], object], done: Callable[[bool, object], None]) -> None:
        """Run a call (Workers)."""

        def run_now() -> None:
            try:
                result = call()
            except Exception:  # noqa: BLE001 - what a thread would bring back
                done(False, Failure())
            else:
                done(True, result)

        if self.stuck:
            self.held.append(run_now)
        elif self.seconds:
            self._clock.callLater(self.seconds, run_now)
        else:
            run_now()

    def let_go(self) -> None:
        """Release the stuck calls."""
        self.stuck = False
        held, self.held = self.held, []
        for run_now in held:
            run_now()


class ComputedHere:
    """Computes at once and here; what travels is pickled all the same. `problem` is what every call fails with."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.calls = 0

    def run(self, key: Hashable, call: Callable[[], Any], seconds: float) -> Deferred[Any]:
        """Run a call (Computing)."""
        self.calls += 1
        if self.problem is not None:
            return fail(NotComputed(self.problem))
        try:
            return succeed(pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(call))())))
        except Exception as error:  # noqa: BLE001 - what a process would bring back
            return fail(NotComputed(f"{type(error).__name__}: {error}"))

    def stop(self) -> None:
        """Nothing to stop."""


@dataclass
class World:
    """One dispatcher and all around it."""

    settings: Settings = field(default_factory=lambda: Settings(bell="none", listen="none"))
    caps: dict[str, int] | None = None
    others: int = 0  #: further stores, each with a database and workers of its own

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.database = MemoryDatabase(self.now)
        self.store = MemoryStore(self.database)
        self.store.rules = self.database.open().rules
        self.targets = Targets(self.clock)
        self.workers = Inline(self.clock)
        self.stores = [self.store]
        crews = {self.store.name: self.workers}
        for number in range(1, self.others + 1):
            self.stores.append(MemoryStore(MemoryDatabase(self.now), self.store.rules, f"memory {number}"))
            crews[self.stores[-1].name] = Inline(self.clock)
        self.crews = list(crews.values())
        self.computing = ComputedHere()
        self.events: list[Event] = []
        self.owners = 0
        self.asleep_seconds = 0.0
        self.stepped_seconds = 0.0
        told = Events()
        told.subscribe(self.events.append)
        self.dispatcher = Dispatcher(
            self.clock, self.stores, self.settings, told, caps=self.caps,
            surroundings=Dependencies(
                make_workers=lambda store: crews[store.name], endpoints=self.targets, random=lambda: 0.5, now=self.now,
                computing=self.computing,
                boottime=lambda: self.clock.seconds() + self.asleep_seconds, make_owner=self._make_owner,
            ),
        )  # fmt: skip

    def now(self) -> float:
        """Return the time of the store and of this host."""
        return NOW + self.clock.seconds() + self.asleep_seconds + self.stepped_seconds

    def start(self) -> World:
        """Start the dispatcher."""
        self.dispatcher.startService()
        self.pass_time(0.001)
        return self

    def put(self, *messages: Message, ring: bool = True) -> None:
        """Store messages, as a web process does."""
        put(self.store, *messages, now=None)
        if ring:
            self.ring()

    def fail_after_claim(self, error: Exception) -> None:
        """Create the next claim, and raise an error in place of its answer."""
        claim = self.store.claim

        def claim_and_fail(*args: Any, **kwargs: Any) -> None:
            claim(*args, **kwargs)
            self.store.claim = claim
            raise error

        self.store.claim = claim_and_fail

    def ring(self) -> None:
        """Ring the doorbell."""
        self.dispatcher._ring()

    def pass_time(self, seconds: float, step: float = 0.005) -> None:
        """Advance time in small steps."""
        steps = max(1, round(seconds / step))
        for _ in range(steps):
            self.clock.advance(seconds / steps)

    def told(self, kind: type) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if type(event) is kind]

    def state_of(self, message: Message) -> str | None:
        """Return the state of a message; None when it is gone."""
        record = self.database.records.get(message.id)
        return None if record is None else record.state

    def _make_owner(self) -> str:
        self.owners += 1
        return f"owner-{self.owners}"
