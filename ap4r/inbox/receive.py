"""Receiving a message once: its record commits with the handler's own data, or not at all.

The middleware answers repeats before the application runs.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ap4r.errors import DeliveryBusy, DeliveryDiffers, DeliveryRefused, NotADelivery, OptionRefused, TransactionLost
from ap4r.inbox.stored_answer import check_answer
from ap4r.signing.verified_delivery import VerifiedDelivery
from ap4r.storage.app_connection.argument import Given, Scope, application_connection
from ap4r.storage.app_connection.base import ForeignConnection
from ap4r.storage.app_connection.block import ConnectionBlock
from ap4r.storage.app_connection.tables import failure_of, tables_of
from ap4r.storage.databases.conflict_codes import is_conflict
from ap4r.storage.inbox_record import (
    Record,
    RecordResult,
    Rows,
    Run,
    Stored,
    StoredAnswer,
    digest,
    expiry,
    is_content,
    key_of,
    record_of,
)
from ap4r.storage.operations.inbox import WAIT_SECONDS, InboxRecords

#: The sender in the records of an application's own keys. No sender of deliveries has this name.
_OWN_KEY = ""
_BETWEEN_CLEANUPS_SECONDS = 60.0

_log = logging.getLogger("ap4r.outbox")


class ReceivingHandle(Protocol):
    """The part of a request's handle that receiving needs."""

    delivery: VerifiedDelivery | None
    path: str
    refusal: DeliveryRefused | None  #: why the request was refused; the middleware answers it

    def transaction(self, conn: object = None, *, using: str | None = None) -> AbstractContextManager[Scope]:
        """Begin on the application's connection, or join what is open."""


class Receipt:
    """The state of the received message, and the answer that the handler stores for it.

    `first` is true when no record of this message was committed before. `stored` is the answer that the first call
    stored, or None.
    """

    __slots__ = ("_answer", "_open", "first", "stored")

    def __init__(self, first: bool, stored: StoredAnswer | None) -> None:
        self.first = first
        self.stored = stored
        self._answer: StoredAnswer | None = None
        self._open = True

    def answer(
        self,
        status: int,
        body: bytes | str = b"",
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
    ) -> None:
        """Store the answer to repeats. It is committed with the block; the last call counts.

        The application answers the request itself, as always. With a repeat nothing is stored.

        :raises OptionRefused: it is not a valid HTTP answer, or the block has ended.
        :raises PayloadTooLarge: it is too large to be stored.
        """
        if not self._open:
            raise OptionRefused("answer", status, "the block has ended; call answer() inside the block")
        self._answer = check_answer(status, body, headers)

    def close(self) -> StoredAnswer | None:
        """Accept no answer any more; return the one to store."""
        self._open = False
        return self._answer if self.first else None


@contextmanager
def receive(
    receiver: ReceivingHandle, given: Given | None, prefix: str, key: str | None, body: bytes | None
) -> Iterator[Receipt]:
    """Yield the receipt of the request's message, inside a transaction on the application's connection.

    :param prefix: the prefix of every table's name.
    :raises DeliveryRefused: NotADelivery, DeliveryBusy or DeliveryDiffers.
    :raises StoreUnavailable: the database is or became unreachable; nothing of the block is stored, or with
        `outcome_unknown` everything may be.
    """
    if given is None:
        raise OptionRefused("conn", None, "pass the connection over which the handler writes")
    now = time.time()
    foreign = application_connection(given, prefix)
    message_id, record = _record_of(receiver, key, body, now)
    run = _runner(foreign)
    busy_timeout, in_block = _BusyTimeout(foreign, run), False
    try:
        busy_timeout.lower()
        with receiver.transaction(given.conn, using=given.using) as scope:
            inbox = InboxRecords(tables_of(prefix).check(foreign).schema, foreign.dialect)
            entry = inbox.receive(run, record, now)
            busy_timeout.restore()
            receipt = _receipt(entry, message_id, record)
            in_block = True
            try:
                yield receipt
            finally:
                answer = receipt.close()
            in_block = False
            if receipt.first:
                _store_answer(foreign, inbox, run, record.key, answer, owns_commit=scope.owns_commit)
    except DeliveryRefused as error:
        receiver.refusal = error
        raise
    except Exception as error:
        if not is_conflict(error):
            raise
        # The conflict was with another transaction, which is not a failure of the message.
        receiver.refusal = busy = DeliveryBusy(message_id)
        if in_block:
            raise
        raise busy from error
    finally:
        busy_timeout.restore()
    if receipt.first and scope.owns_commit:
        _cleanup.run_if_due(prefix, foreign, inbox, run, now)


def _store_answer(
    foreign: ForeignConnection,
    inbox: InboxRecords,
    run: Run,
    key: bytes,
    answer: StoredAnswer | None,
    *,
    owns_commit: bool,
) -> None:
    """Store the answer, and check that the record still exists: without it the next call would count as the first."""
    foreign.flush()
    foreign.note_write()
    if owns_commit:
        foreign.check_undivided()
    is_there = inbox.find(run, key) is not None if answer is None else inbox.answer(run, key, answer)
    if not is_there:
        raise TransactionLost(foreign.what, "its transaction was rolled back within the block of once()")


def _record_of(receiver: ReceivingHandle, key: str | None, body: bytes | None, now: float) -> tuple[str, Record]:
    if key is not None:
        if not key or type(key) is not str:
            raise OptionRefused("key", key, "a key is a non-empty string")
        content = b"" if body is None else hashlib.sha256(body).digest()
        return key, Record(key_of(_OWN_KEY, key, receiver.path), digest(content), expiry(None, now))
    delivery = receiver.delivery
    if delivery is None:
        raise NotADelivery
    return delivery.id, record_of(
        delivery.sender,
        delivery.id,
        delivery.path,
        delivery.body_sha256,
        expiry(delivery.expires_at, now),
        is_path_signed=delivery.whole_request_signed,
    )


def _receipt(entry: Stored | RecordResult, message_id: str, record: Record) -> Receipt:
    if entry is RecordResult.BUSY:
        raise DeliveryBusy(message_id)
    if isinstance(entry, Stored):
        if not is_content(entry.content, record.content):
            raise DeliveryDiffers(message_id)
        return Receipt(False, entry.answer)
    return Receipt(True, None)


def _runner(foreign: ForeignConnection) -> Run:
    def run(statement: str, values: Mapping[str, Any]) -> Rows:
        try:
            result = foreign.execute(text(statement), dict(values))
        except DBAPIError as error:
            # The code around a driver's own connection, or Django's, does not expect SQLAlchemy's errors.
            raise failure_of(error, foreign.what) from error
        return Rows(result.rowcount, [tuple(row) for row in result] if result.returns_rows else ())

    return run


class _BusyTimeout:
    """The time that beginning a transaction may wait for the whole file, on SQLite."""

    def __init__(self, foreign: ForeignConnection, run: Run) -> None:
        self._foreign = foreign
        self._run = run
        self._before: int | None = None

    def lower(self) -> None:
        if self._foreign.dialect == "sqlite":
            self._foreign.check()
            if not self._foreign.is_open:
                [(before,)] = self._run("PRAGMA busy_timeout", {}).rows
                self._before = int(before)
                self._run(f"PRAGMA busy_timeout = {min(self._before, WAIT_SECONDS * 1000)}", {})

    def restore(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            # After a failure the connection may be unusable; that failure is the one to report.
            with suppress(Exception):
                self._run(f"PRAGMA busy_timeout = {before}", {})


class _Cleanup:
    """Deletes old records now and then, in case no dispatcher prunes: after a commit, in a transaction of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due_at: dict[object, float] = {}

    def run_if_due(self, prefix: str, foreign: ForeignConnection, inbox: InboxRecords, run: Run, now: float) -> None:
        place = (prefix, foreign.database)
        with self._lock:
            if time.monotonic() < self._due_at.get(place, 0.0):
                return
            self._due_at[place] = time.monotonic() + _BETWEEN_CLEANUPS_SECONDS
        try:
            _in_block(foreign, prefix, lambda: inbox.forget(run, now))
        except Exception as error:  # noqa: BLE001 - the message is received, and the next one tries again
            _log.info("old records in the inbox of %s were not deleted: %s", foreign.name, error)


_cleanup = _Cleanup()


def _in_block(foreign: ForeignConnection, prefix: str, work: Callable[[], object]) -> None:
    block = ConnectionBlock(foreign, tables_of(prefix))
    block.enter()
    try:
        work()
    except BaseException:
        block.abandon()
        raise
    block.finish()
