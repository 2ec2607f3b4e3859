"""Messages that do not follow the request's verdict: stored over the application's connection, with its own data.

`OwnTransaction` is a block that ends what it begins; `Joined` ends nothing. Both store a message when it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from sqlalchemy.exc import DBAPIError

from ap4r.doorbell.ringer import KnownBells, bells_of
from ap4r.errors import ConnectionUnfit, StoreUnavailable
from ap4r.message.message import Message, Put, new_id
from ap4r.storage.app_connection.base import ForeignConnection
from ap4r.storage.app_connection.block import ConnectionBlock
from ap4r.storage.app_connection.dbapi import SqlSavepoint
from ap4r.storage.app_connection.tables import Tables, failure_of, tables_of

_FAILED = (
    "its transaction has failed within the block: the error of a statement was caught, and the database accepts "
    "nothing after it; let such an error leave the block, or make the statement in a savepoint"
)
#: Accepts a callable that rings when the request or session ends.
RingLater = Callable[[Callable[[], None]], None]


class _Written:
    """Writes over one connection at once, and rings the doorbell after the commit."""

    def __init__(self, foreign: ForeignConnection, prefix: str, ring_later: RingLater) -> None:
        self._foreign = foreign
        self._prefix = prefix
        self._ring_later = ring_later
        self._tables: Tables = tables_of(prefix)
        self._bells: KnownBells | None = None

    def _write(self, messages: Sequence[Message]) -> None:
        """Write messages into the open transaction, all of them or none."""
        foreign = self._foreign
        try:
            # A transaction that the library began need not be open in the driver yet: pysqlite begins with the first
            # change, and a savepoint before that would be a transaction of its own.
            foreign.join()
            point = SqlSavepoint(foreign.connection())
            try:
                self._tables.write(foreign, Put(new_id(), tuple(messages)))
                self._bells = bells_of(foreign.database, self._prefix, self._tables.schema.namespace)
                if self._bells is not None and self._bells.is_due:
                    self._bells.learn(self._tables.bells(foreign))
            except BaseException:
                # If the database has rolled the whole transaction back, its first error is the one to report.
                with suppress(DBAPIError):
                    point.rollback()
                raise
            point.release()
            foreign.note_write()
        except DBAPIError as error:
            raise failure_of(error, foreign.what) from error

    @property
    def savepoint(self) -> object:
        """The savepoint that the application's library has open; None if there is none, or if it cannot be read."""
        return self._foreign.open_savepoint

    def is_on(self, foreign: ForeignConnection) -> bool:
        """Return whether it writes over that connection."""
        return self._foreign.owner is foreign.owner

    def _ring_when_committed(self) -> None:
        if self._bells is not None and not self._foreign.after_commit(self._bells.ring):
            self._ring_later(self._bells.ring)


class OwnTransaction(_Written):
    """A block of `transaction(conn)`. Each message is written when it is sent, so inner savepoints contain theirs."""

    is_counted = True

    def __init__(self, foreign: ForeignConnection, prefix: str, ring_later: RingLater, *, strict: bool) -> None:
        """Begin, or set a savepoint.

        :raises ConnectionUnfit: the connection cannot be used; the text has the reason.
        :raises SchemaMismatch: the tables are missing or of another version.
        """
        super().__init__(foreign, prefix, ring_later)
        self._has_messages = False
        self._is_ending = False
        self._is_given_up = False
        self._block = ConnectionBlock(foreign, self._tables, strict=strict)
        try:
            self._block.enter()
        except DBAPIError as error:
            raise failure_of(error, foreign.what) from error
        self._tables = self._block.tables

    @property
    def owns_commit(self) -> bool:
        """Whether the block's end commits."""
        return self._block.owns_commit

    @property
    def is_over(self) -> bool:
        """Whether its transaction has ended at the block's end: what hooks send now comes too late."""
        if self._is_given_up:
            return True
        return self._is_ending and self.owns_commit and not self._foreign.is_within_transaction

    def write(self, messages: Sequence[Message]) -> None:
        """Write messages into the block's transaction, now; all of them or none.

        :raises ConnectionUnfit: it has failed, or the connection cannot be used any more.
        :raises TransactionLost: it was ended within the block.
        :raises StoreUnavailable: they are not written; the transaction is unchanged.
        """
        if not messages:
            return
        self._has_messages = True
        self._foreign.check()
        self._block.check_open()
        self._write(messages)
        if self._is_ending and self.owns_commit:
            self._foreign.check_undivided()

    def finish(self) -> None:
        """Check the transaction, and commit if the block owns it.

        :raises StoreUnavailable: nothing is stored, or with `outcome_unknown` (an answer to COMMIT) everything may be.
        :raises TransactionLost: the transaction was ended within the block.
        :raises ConnectionUnfit: it has failed, or has written to several databases; all is rolled back.
        """
        self._is_ending = True
        try:
            if self._has_messages:
                if self._foreign.has_failed:
                    raise ConnectionUnfit(self._foreign.what, _FAILED)
                # Errors of the application's own statements are passed on unchanged, because the application handles
                # them. Hooks that this call runs may send messages.
                self._foreign.flush()
                if self.owns_commit:
                    self._foreign.check_undivided()
                self._block.verify()
            if not self.owns_commit:
                self._ring_when_committed()
        except BaseException:
            self.abandon()
            raise
        may_be_lost = not self._has_messages
        try:
            self._block.finish(may_be_lost=may_be_lost)
        except Exception as error:
            if self._has_messages and self.owns_commit and self._foreign.is_lost_after(error):
                problem = "the answer to COMMIT was lost"
                raise StoreUnavailable(self._foreign.what, problem, outcome_unknown=True, is_connection=True) from error
            raise
        if self.owns_commit and self._bells is not None:
            self._bells.ring()
        elif may_be_lost and self._has_messages:
            # A hook of the savepoint's release sent messages, too late to be registered above.
            self._ring_when_committed()

    def abandon(self) -> None:
        """Undo what was done in the block."""
        self._is_given_up = True
        self._block.abandon()


class Joined(_Written):
    """The application's transaction, joined until its end or the end of the `with` block, whichever comes first.

    It ends nothing. Use it as `with handle.join(conn):`, or call it without `with` for the rest of the request.
    """

    is_counted = False
    is_over = False
    owns_commit = False

    def __init__(self, foreign: ForeignConnection, prefix: str, ring_later: RingLater) -> None:
        """Check that there is a transaction to join, and check the tables.

        :raises ConnectionUnfit: the connection cannot be used, or each statement would commit by itself.
        :raises SchemaMismatch: the tables are missing or of another version.
        """
        super().__init__(foreign, prefix, ring_later)
        self.leave: Callable[[], None] = _nothing
        self._is_left = False
        try:
            foreign.check()
            foreign.join()
            self._tables = self._tables.check(foreign)
            self._tables.touch(foreign)
        except DBAPIError as error:
            raise failure_of(error, foreign.what) from error

    def write(self, messages: Sequence[Message]) -> None:
        """Write messages into the application's transaction, now; all of them or none.

        :raises ConnectionUnfit: that transaction has ended or failed.
        :raises StoreUnavailable: they are not written; the transaction is unchanged.
        """
        foreign = self._foreign
        if not messages:
            return
        foreign.check()
        if not foreign.is_within_transaction:
            raise ConnectionUnfit(foreign.what, "the joined transaction has ended; call join() again")
        self._write(messages)
        self._ring_when_committed()

    def __enter__(self) -> Joined:
        if self._is_left:
            raise ConnectionUnfit(self._foreign.what, "this join() has ended already; call join() for each `with`")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_left = True
        self.leave()


def _nothing() -> None:
    pass
