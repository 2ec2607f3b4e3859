"""A sink that puts through dispatchers' intakes, so that a web process needs no access to the database.

The intakes named in one URL are of one store: what one has not taken, or has taken without our hearing of it, is sent
to the next under the same ids, which changes nothing if it is stored already.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from dataclasses import dataclass, replace

from ap4r import __version__
from ap4r.describe.message_json import fields_of
from ap4r.errors import MessageError, StoreUnavailable, StoreUnusable
from ap4r.message.message import Put
from ap4r.outbox.intake_client.answer import IntakeAnswer, PutFailure, worst_of
from ap4r.outbox.intake_client.connection import connection_to, read_answer, set_deadline
from ap4r.outbox.intake_client.hosts import IntakeHost, Rotation, parse_intake
from ap4r.redaction import shortened
from ap4r.settings.secrets import read_tokens
from ap4r.settings.settings import Settings

#: A connection that was idle for longer may have been closed at the other end.
_KEPT_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.1
#: How much of what is left until the deadline a pause may take, whatever Retry-After says.
_LONGEST_PAUSE = 0.75
#: Other intakes may answer otherwise; the rest is the request's own fault.
_NEXT_MAY_TAKE_IT = frozenset({401, 403, 404, 408, 429})


class IntakeRefused(StoreUnusable, MessageError):
    """The intake takes neither this put nor would it later. Nothing was stored."""


@dataclass(slots=True)
class _Kept:
    """A thread's connection to one host."""

    connection: http.client.HTTPConnection
    used_at: float


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
        :raises StoreUnusable: what answers at these URLs is no intake.
        """
        body = json.dumps([fields_of(message) for message in put.messages], separators=(",", ":")).encode()
        ids = [message.id for message in put.messages]
        give_up_at = time.monotonic() + self._deadline_seconds
        trouble = self._round(body, ids, give_up_at)
        backoff_seconds = _FIRST_PAUSE_SECONDS
        # What may be stored or not is worth asking again for: a repeat tells.
        while trouble is not None and trouble.outcome_unknown:
            longest_seconds = (give_up_at - time.monotonic()) * _LONGEST_PAUSE
            if longest_seconds < _FIRST_PAUSE_SECONDS:
                break
            time.sleep(min(max(backoff_seconds, trouble.retry_after_seconds), longest_seconds))
            backoff_seconds *= 2
            try:
                again = self._round(body, ids, give_up_at)
            except IntakeRefused as refused:
                trouble = PutFailure(str(refused), outcome_unknown=True)
                break
            trouble = None if again is None else replace(again, outcome_unknown=True)
        if trouble is None:
            return
        if trouble.is_no_intake and not trouble.outcome_unknown:
            raise StoreUnusable(self._url, trouble.problem)
        raise StoreUnavailable(self._url, trouble.text, outcome_unknown=trouble.outcome_unknown)

    def close(self) -> None:
        """Let go of this thread's connections."""
        for kept in self._connections().values():
            kept.connection.close()
        self._connections().clear()

    def _round(self, body: bytes, ids: list[str], give_up_at: float) -> PutFailure | None:
        """Try every host once; gives what went wrong, None if one has stored it."""
        troubles: list[PutFailure] = []
        hosts = self._rotation.order(time.monotonic())
        for index, host in enumerate(hosts):
            left_seconds = give_up_at - time.monotonic()
            if left_seconds <= 0:
                break
            try:
                # One that does not answer leaves some of the time for the next.
                trouble = self._try(host, body, ids, left_seconds / (len(hosts) - index))
            except IntakeRefused as refused:
                if not any(earlier.outcome_unknown for earlier in troubles):
                    raise
                trouble = PutFailure(str(refused))
            if trouble is None:
                self._rotation.succeeded(host)
                return None
            self._rotation.failed(host, time.monotonic())
            troubles.append(replace(trouble, problem=f"{host.url}: {trouble.problem}"))
        return worst_of(troubles)

    def _try(self, host: IntakeHost, body: bytes, ids: list[str], within_seconds: float) -> PutFailure | None:
        """Put through one host; gives what went wrong."""
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
        trouble = answer.trouble
        if not unknown and answer.refuses and answer.status not in _NEXT_MAY_TAKE_IT:
            raise IntakeRefused(host.url, f"it refuses the messages ({answer.status}): {trouble.text}")
        return replace(trouble, outcome_unknown=True) if unknown else trouble

    def _ask(self, host: IntakeHost, body: bytes, token: str, give_up_at: float) -> tuple[IntakeAnswer, bool]:
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
            raise _Lost(_words(error), was_sent) from error
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
            # What a parent process left is kept as it is: closing it here would say goodbye in the parent's name.
            kept = self._kept.by_process = {**(kept or {}), os.getpid(): {}}
        return kept[os.getpid()]


class _Lost(Exception):
    """No answer came. `was_sent`: something of the request may have reached the intake."""

    def __init__(self, problem: str, was_sent: bool) -> None:
        super().__init__(problem)
        self.was_sent = was_sent


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return shortened(str(error) or type(error).__name__, 200)
