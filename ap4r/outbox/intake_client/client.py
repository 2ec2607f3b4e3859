"""A sink that puts through dispatchers' intakes, so that a web process needs no access to the database.

The intakes named in one URL belong to one store: a put that one refused, or that it may have stored without a received
answer, is sent to the next under the same ids, which changes nothing if it is stored already.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from dataclasses import dataclass, replace

from ap4r.describe.message_json import fields_of
from ap4r.errors import MessageError, StoreUnavailable, StoreUnusable
from ap4r.message.message import Put
from ap4r.outbox.intake_client.answer import IntakeAnswer, PutFailure, worst_of
from ap4r.outbox.intake_client.connection import connection_to, read_answer, set_deadline
from ap4r.outbox.intake_client.hosts import IntakeHost, Rotation, parse_intake
from ap4r.redaction import shortened
from ap4r.settings.secrets import read_tokens
from ap4r.settings.settings import Settings
from ap4r.version import __version__

#: A connection that was idle for longer may have been closed by the server.
_KEPT_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.1
#: The largest share of the time left until the deadline that a pause may take, whatever Retry-After says.
_LONGEST_PAUSE = 0.75
#: Another intake may answer these differently; any other 4xx is the fault of the request.
_NEXT_MAY_TAKE_IT = frozenset({401, 403, 404, 408, 429})


class IntakeRefused(StoreUnusable, MessageError):
    """The intake will not accept this put, now or later. Nothing was stored."""


@dataclass(slots=True)
class _Kept:
    """A thread's connection to one host."""

    connection: http.client.HTTPConnection
    used_at: float


class IntakeClient:
    """Puts into the store of one dispatcher or several, over HTTP. Nothing is opened before the first put.

    :param url: `http://host:port`, several separated by commas, or `http+unix:///path`.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        """Read the settings.

        :raises ConfigError: the URL or a token is not valid.
        """
        hosts = parse_intake(url)
        self._url = ",".join(host.url for host in hosts)
        self._rotation = Rotation(hosts)
        self._tokens = read_tokens(settings.intake_token)
        self._deadline_seconds = settings.store_deadline_seconds
        # By process as well: a connection that a fork has duplicated must be used by only one of the processes.
        self._kept = threading.local()

    @property
    def name(self) -> str:
        """The URL."""
        return self._url

    def put(self, put: Put) -> None:
        """Store all messages of `put`, durably on return. A repeat changes nothing, for a day.

        :raises StoreUnavailable: no intake accepted it in time; with `outcome_unknown` it may be stored all the same.
        :raises IntakeRefused: an intake reports that it is wrong, and that a retry does not help.
        :raises StoreUnusable: the server at these URLs is not an intake.
        """
        body = json.dumps([fields_of(message) for message in put.messages], separators=(",", ":")).encode()
        ids = [message.id for message in put.messages]
        give_up_at = time.monotonic() + self._deadline_seconds
        failure = self._round(body, ids, give_up_at)
        backoff_seconds = _FIRST_PAUSE_SECONDS
        # A put that may or may not be stored is worth a repeat: its answer tells.
        while failure is not None and failure.outcome_unknown:
            longest_seconds = (give_up_at - time.monotonic()) * _LONGEST_PAUSE
            if longest_seconds < _FIRST_PAUSE_SECONDS:
                break
            time.sleep(min(max(backoff_seconds, failure.retry_after_seconds), longest_seconds))
            backoff_seconds *= 2
            try:
                again = self._round(body, ids, give_up_at)
            except IntakeRefused as refused:
                failure = PutFailure(str(refused), outcome_unknown=True)
                break
            failure = None if again is None else replace(again, outcome_unknown=True)
        if failure is None:
            return
        if failure.is_no_intake and not failure.outcome_unknown:
            raise StoreUnusable(self._url, failure.problem)
        raise StoreUnavailable(self._url, failure.text, outcome_unknown=failure.outcome_unknown)

    def close(self) -> None:
        """Close this thread's connections."""
        for kept in self._connections().values():
            kept.connection.close()
        self._connections().clear()

    def _round(self, body: bytes, ids: list[str], give_up_at: float) -> PutFailure | None:
        """Try every host once; return the failure, or None if one has stored the put."""
        failures: list[PutFailure] = []
        hosts = self._rotation.order(time.monotonic())
        for index, host in enumerate(hosts):
            left_seconds = give_up_at - time.monotonic()
            if left_seconds <= 0:
                break
            try:
                # A host that does not answer leaves some of the time for the next one.
                failure = self._try(host, body, ids, left_seconds / (len(hosts) - index))
            except IntakeRefused as refused:
                if not any(earlier.outcome_unknown for earlier in failures):
                    raise
                failure = PutFailure(str(refused))
            if failure is None:
                self._rotation.succeeded(host)
                return None
            self._rotation.failed(host, time.monotonic())
            failures.append(replace(failure, problem=f"{host.url}: {failure.problem}"))
        return worst_of(failures)

    def _try(self, host: IntakeHost, body: bytes, ids: list[str], within_seconds: float) -> PutFailure | None:
        """Put through one host; return the failure, or None."""
        give_up_at = time.monotonic() + within_seconds
        unknown = False
        for token in self._tokens or ("",):
            try:
                answer, sent_in_vain = self._ask(host, body, token, give_up_at)
                unknown = unknown or sent_in_vain
            except _Lost as lost:
                return PutFailure(str(lost), outcome_unknown=lost.was_sent or unknown)
            if answer.acknowledges(ids):
                return None
            if answer.status != 401:
                break
        failure = answer.failure
        if not unknown and answer.refuses and answer.status not in _NEXT_MAY_TAKE_IT:
            raise IntakeRefused(host.url, f"it refuses the messages ({answer.status}): {failure.text}")
        return replace(failure, outcome_unknown=True) if unknown else failure

    def _ask(self, host: IntakeHost, body: bytes, token: str, give_up_at: float) -> tuple[IntakeAnswer, bool]:
        """Send the put over the kept connection; over a new one if that turns out to be closed."""
        kept = self._connections().pop(host, None)
        was_sent = False
        if kept is not None:
            if time.monotonic() - kept.used_at < _KEPT_SECONDS:
                try:
                    return self._exchange(host, kept.connection, body, token, give_up_at), False
                except _Lost as lost:
                    # The server may have closed it meanwhile; a repeat is safe either way.
                    was_sent = lost.was_sent
                    if time.monotonic() >= give_up_at:
                        raise
            else:
                kept.connection.close()
        try:
            return self._exchange(host, connection_to(host), body, token, give_up_at), was_sent
        except _Lost as lost:
            lost.was_sent = lost.was_sent or was_sent
            raise

    def _exchange(
        self, host: IntakeHost, connection: http.client.HTTPConnection, body: bytes, token: str, give_up_at: float
    ) -> IntakeAnswer:
        headers = {"Content-Type": "application/json", "User-Agent": f"ap4r/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        was_sent = False
        try:
            set_deadline(connection, give_up_at)
            if connection.sock is None:
                connection.connect()
            set_deadline(connection, give_up_at)
            was_sent = True
            connection.request("POST", "/messages", body, headers)
            set_deadline(connection, give_up_at)
            response = connection.getresponse()
            read = read_answer(connection, response, give_up_at)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _Lost(_describe_error(error), was_sent) from error
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._connections()[host] = _Kept(connection, time.monotonic())
        return IntakeAnswer(response.status, read, response.getheader("Retry-After", ""))

    def _connections(self) -> dict[IntakeHost, _Kept]:
        kept: dict[int, dict[IntakeHost, _Kept]] | None = getattr(self._kept, "by_process", None)
        if kept is None or os.getpid() not in kept:
            # A parent process's connections are kept open: closing one here (TLS) would send a close on its behalf.
            kept = self._kept.by_process = {**(kept or {}), os.getpid(): {}}
        return kept[os.getpid()]


class _Lost(Exception):
    """No answer came. With `was_sent`, a part of the request may have reached the intake."""

    def __init__(self, problem: str, was_sent: bool) -> None:
        super().__init__(problem)
        self.was_sent = was_sent


def _describe_error(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return shortened(str(error) or type(error).__name__, 200)
