"""A sink that puts through dispatchers' intakes, so that a web process needs no access to the database.

The intakes named in one URL are of one store: what one has not taken, or has taken without our hearing of it, is sent
to the next under the same ids, which changes nothing if it is stored already.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from dataclasses import dataclass

from ap4r import __version__
from ap4r.errors import MessageError, StoreUnavailable, StoreUnusable, shortened
from ap4r.message import Put
from ap4r.outbox.intake_hosts import IntakeHost, Rotation, parse_intake
from ap4r.outbox.tokens import read_tokens
from ap4r.outbox.wire_form import fields_of
from ap4r.settings import Settings

_ANSWER_BYTES = 4 * 1024 * 1024
#: A connection that was idle for longer may have been closed at the other end.
_KEPT_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.1
#: Other intakes may answer otherwise; the rest is the request's own fault.
_NEXT_MAY_TAKE_IT = frozenset({401, 403, 404, 408, 429})


class IntakeRefused(StoreUnusable, MessageError):
    """The intake takes neither this put nor would it later. Nothing was stored."""


@dataclass(slots=True)
class _Kept:
    """A thread's connection to one host."""

    connection: http.client.HTTPConnection
    used_at: float


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes

    @property
    def says(self) -> str:
        """What the intake said was wrong."""
        try:
            told = json.loads(self.body)
            return shortened(f"{told['message']}; {told['advice']}" if told["advice"] else told["message"], 500)
        except (ValueError, KeyError, TypeError):
            return f"status {self.status}"

    @property
    def outcome_unknown(self) -> bool:
        """Whether the put may be stored all the same. What is no answer of an intake (a proxy's) tells nothing."""
        try:
            return bool(json.loads(self.body)["outcome_unknown"])
        except (ValueError, KeyError, TypeError):
            return self.status >= 500


class IntakeClient:
    """Puts into the store of one dispatcher or several, over HTTP. Opens nothing before the first put.

    :param url: `http://host:port`, several with commas between them, or `http+unix:///path`.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        """Take the settings.

        :raises ConfigError: the URL or a token means nothing.
        """
        hosts = parse_intake(url)
        self._url = ",".join(host.url for host in hosts)
        self._rotation = Rotation(hosts)
        self._tokens = read_tokens(settings.intake_token)
        self._deadline_seconds = settings.store_deadline_seconds
        # By process as well: a connection that a fork has duplicated must be used on one side only.
        self._kept = threading.local()

    @property
    def name(self) -> str:
        """The URL."""
        return self._url

    def put(self, put: Put) -> None:
        """Have all messages of `put` stored, durably on return. A repeat changes nothing, for a day.

        :raises StoreUnavailable: no intake took it in time; with `outcome_unknown` it may be stored all the same.
        :raises IntakeRefused: an intake says that it is wrong, and that waiting does not help.
        """
        body = json.dumps([fields_of(message) for message in put.messages], separators=(",", ":")).encode()
        give_up_at = time.monotonic() + self._deadline_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        problem, unknown = self._round(body, give_up_at)
        # What may be stored or not is worth asking again for: a repeat tells.
        while problem is not None and unknown and time.monotonic() + pause_seconds < give_up_at:
            time.sleep(pause_seconds)
            pause_seconds *= 2
            try:
                problem, _ = self._round(body, give_up_at)
            except IntakeRefused as refused:
                problem = str(refused)
                break
        if problem is not None:
            raise StoreUnavailable(self._url, problem, outcome_unknown=unknown)

    def close(self) -> None:
        """Let go of this thread's connections."""
        for kept in self._connections().values():
            kept.connection.close()
        self._connections().clear()

    def _round(self, body: bytes, give_up_at: float) -> tuple[str | None, bool]:
        """Try every host once; gives what went wrong, None if one has stored it, and whether one may have."""
        problems: list[str] = []
        unknown = False
        hosts = self._rotation.order(time.monotonic())
        for index, host in enumerate(hosts):
            left_seconds = give_up_at - time.monotonic()
            if left_seconds <= 0:
                break
            try:
                # One that does not answer leaves some of the time for the next.
                problem, maybe_stored = self._try(host, body, left_seconds / (len(hosts) - index))
            except IntakeRefused as refused:
                if not unknown:
                    raise
                problem, maybe_stored = str(refused), False
            if problem is None:
                self._rotation.succeeded(host)
                return None, False
            self._rotation.failed(host, time.monotonic())
            problems.append(f"{host.url}: {problem}")
            unknown = unknown or maybe_stored
        return "; ".join(problems) or "no time was left", unknown

    def _try(self, host: IntakeHost, body: bytes, within_seconds: float) -> tuple[str | None, bool]:
        """Put through one host; gives what went wrong, and whether it may be stored all the same."""
        give_up_at = time.monotonic() + within_seconds
        unknown = False
        for token in self._tokens or ("",):
            try:
                answer, sent_in_vain = self._ask(host, body, token, give_up_at)
                unknown = unknown or sent_in_vain
            except _Lost as lost:
                return str(lost), lost.was_sent or unknown
            if answer.status in (200, 202):
                return None, False
            if answer.status != 401:
                break
        if answer.status < 500 and answer.status not in _NEXT_MAY_TAKE_IT:
            raise IntakeRefused(host.url, f"it refuses the messages ({answer.status}): {answer.says}")
        return answer.says, answer.outcome_unknown or unknown

    def _ask(self, host: IntakeHost, body: bytes, token: str, give_up_at: float) -> tuple[_Answer, bool]:
        """Ask over the kept connection; over a new one if that turns out to be closed."""
        kept = self._connections().pop(host, None)
        was_sent = False
        if kept is not None:
            if time.monotonic() - kept.used_at < _KEPT_SECONDS:
                try:
                    return self._exchange(host, kept.connection, body, token, give_up_at), False
                except _Lost as lost:
                    # The server may have closed it in between; a repeat is safe either way.
                    was_sent = lost.was_sent
                    if time.monotonic() >= give_up_at:
                        raise
            else:
                kept.connection.close()
        try:
            return self._exchange(host, _connection_to(host), body, token, give_up_at), was_sent
        except _Lost as lost:
            lost.was_sent = lost.was_sent or was_sent
            raise

    def _exchange(
        self, host: IntakeHost, connection: http.client.HTTPConnection, body: bytes, token: str, give_up_at: float
    ) -> _Answer:
        headers = {"Content-Type": "application/json", "User-Agent": f"ap4r/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        was_sent = False
        try:
            _set_deadline(connection, give_up_at)
            if connection.sock is None:
                connection.connect()
            _set_deadline(connection, give_up_at)
            was_sent = True
            connection.request("POST", "/messages", body, headers)
            _set_deadline(connection, give_up_at)
            response = connection.getresponse()
            read = _read(connection, response, give_up_at)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _Lost(_words(error), was_sent) from error
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._connections()[host] = _Kept(connection, time.monotonic())
        return _Answer(response.status, read)

    def _connections(self) -> dict[IntakeHost, _Kept]:
        kept: dict[int, dict[IntakeHost, _Kept]] | None = getattr(self._kept, "by_process", None)
        if kept is None or os.getpid() not in kept:
            # What a parent process left is kept as it is: closing it here would say goodbye in the parent's name.
            kept = self._kept.by_process = {**(kept or {}), os.getpid(): {}}
        return kept[os.getpid()]


class _Lost(Exception):
    """No answer came. `was_sent`: something of the request may have reached the intake."""

    def __init__(self, problem: str, was_sent: bool) -> None:
        super().__init__(problem)
        self.was_sent = was_sent


class _Connection(http.client.HTTPConnection):
    """A connection that ends with the thread that keeps it."""

    def __del__(self) -> None:
        self.close()


class _TlsConnection(http.client.HTTPSConnection):
    """The same, over TLS."""

    def __del__(self) -> None:
        self.close()


class _UnixConnection(_Connection):
    """The same, over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection_to(host: IntakeHost) -> http.client.HTTPConnection:
    if host.path:
        return _UnixConnection(host.path)
    if host.tls:
        return _TlsConnection(host.name, host.port)
    return _Connection(host.name, host.port)


def _set_deadline(connection: http.client.HTTPConnection, give_up_at: float) -> None:
    left_seconds = give_up_at - time.monotonic()
    if left_seconds <= 0:
        raise TimeoutError("no answer in time")
    connection.timeout = left_seconds
    if connection.sock is not None:
        connection.sock.settimeout(left_seconds)


def _read(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, give_up_at: float) -> bytes:
    """Read an answer within the deadline, however slowly it comes."""
    parts: list[bytes] = []
    size = 0
    while part := response.read1(65_536):
        size += len(part)
        if size > _ANSWER_BYTES:
            raise http.client.HTTPException("the answer is too long")
        parts.append(part)
        if connection.sock is not None:
            _set_deadline(connection, give_up_at)
    return b"".join(parts)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return shortened(str(error) or type(error).__name__, 200)
