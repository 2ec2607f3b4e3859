"""One block on the application's connection: it begins and ends a transaction, or is a savepoint and ends nothing.

It does not depend on messages; what belongs to the transaction is written between `enter` and `finish`.
"""

from __future__ import annotations

import logging
import threading
from typing import NamedTuple

from ap4r.errors import Ap4rError, ConnectionUnfit, StoreUnavailable, TransactionLost
from ap4r.storage.app_connection.base import ForeignConnection, Savepoint
from ap4r.storage.app_connection.dbapi import SqlSavepoint
from ap4r.storage.app_connection.tables import Tables

_log = logging.getLogger("ap4r.storage")
_ENDED = (
    "its transaction was ended or undone within the block, by a commit() or rollback() of your own, `with conn:` or "
    "executescript() of sqlite3, a CREATE or ALTER TABLE on MariaDB or MySQL, a deadlock whose error was caught, or a "
    "lost server; leave the ending to the block, and let such an error out of it"
)


class _Holder(NamedTuple):
    thread: int
    depth: int


#: Connections on which a block is open, by the identity of their owner, and the thread that opened it.
_held: dict[int, _Holder] = {}
_holding = threading.Lock()


class ConnectionBlock:
    """From `enter` to either `finish` or `abandon`, in one thread.

    :param strict: refuse a transaction that other code will end.
    """

    def __init__(self, foreign: ForeignConnection, tables: Tables, *, strict: bool = False) -> None:
        self._foreign = foreign
        self.tables = tables  #: in their schema, after `enter`
        self._strict = strict
        self._thread = threading.get_ident()
        self._savepoint: Savepoint | None = None
        # A savepoint over the whole block: the end of the transaction discards it, and then it cannot be released.
        self._guard: SqlSavepoint | None = None
        self.owns_commit = False  #: whether `finish` commits

    def enter(self) -> None:
        """Begin, or set a savepoint in what is open already, and check the tables.

        :raises ConnectionUnfit: the connection cannot be used; the text says why.
        :raises SchemaMismatch: the tables are missing or of another version.
        """
        foreign = self._foreign
        is_inner = _enter_owner(foreign)
        try:
            foreign.check()
            # A block around this one may own what its library would consider to have begun by itself.
            if foreign.is_open or (is_inner and foreign.is_within_transaction):
                if self._strict:
                    raise ConnectionUnfit(
                        foreign.what, "a transaction is open that another block will end, and strict=True refuses that"
                    )
                # A transaction that a library calls open may not have begun: a first SAVEPOINT would be SQLite's
                # transaction.
                foreign.join()
                self._savepoint = foreign.savepoint()
            else:
                self.owns_commit = True
                foreign.begin()
            try:
                self.tables = self.tables.check(foreign)
                self._guard = SqlSavepoint(foreign.connection())
                self.tables.touch(foreign)
            except BaseException:
                self._undo()
                raise
        except BaseException:
            _leave_owner(foreign)
            raise

    def check_open(self) -> None:
        """Ensure that what is written now is part of a transaction.

        :raises TransactionLost: it was ended within the block, and what is written now would commit by itself.
        """
        if not self._foreign.is_within_transaction:
            raise TransactionLost(self._foreign.what, _ENDED)

    def verify(self) -> None:
        """Ensure that the transaction is still the one that `enter` found or began.

        :raises TransactionLost: it ended or was rolled back; later writes would commit alone or with other data.
        :raises StoreUnavailable: it ended with its connection, which was lost; nothing of it is stored.
        :raises ConnectionUnfit: this is not the thread of `enter`.
        """
        if threading.get_ident() != self._thread:
            raise ConnectionUnfit(self._foreign.what, "the block was entered in one thread and left in another")
        guard, self._guard = self._guard, None
        if guard is None:
            return
        self._foreign.settle(self._savepoint)
        try:
            guard.release()
        except Exception as error:
            raise self._lost_error(error) from error

    def finish(self, *, may_be_lost: bool = False) -> None:
        """End cleanly: verify, unless that was done, and commit if the block owns the transaction.

        :param may_be_lost: nothing of ours was written, so it does no harm if the application has ended it.
        :raises TransactionLost: it is another transaction by now; what is left of it is rolled back.
        :raises StoreUnavailable: it ended with its connection; nothing of it is stored.
        """
        try:
            if not may_be_lost:
                self.verify()
            if self._savepoint is not None:
                self._release(self._savepoint, may_be_lost)
            else:
                self._foreign.commit()
        except BaseException:
            self._undo()
            raise
        finally:
            _leave_owner(self._foreign)

    def _release(self, point: Savepoint, may_be_lost: bool) -> None:
        if may_be_lost and (isinstance(point, SqlSavepoint) or not point.is_active):
            return
        try:
            point.release()
        except Ap4rError:
            raise  # raised by a hook of the application
        except Exception as error:
            raise self._lost_error(error) from error
        self._savepoint = None

    def _lost_error(self, error: Exception) -> StoreUnavailable | TransactionLost:
        # A lost database is not a mistake of the application, and a retry may succeed later.
        if self._foreign.is_lost_after(error):
            problem = "the connection was lost within the block; nothing is stored"
            return StoreUnavailable(self._foreign.what, problem, is_connection=True)
        return TransactionLost(self._foreign.what, _ENDED)

    def abandon(self) -> None:
        """Undo what was done in the block. Never raises, because it is called while another exception is raised."""
        try:
            self._undo()
        finally:
            _leave_owner(self._foreign)

    def _undo(self) -> None:
        try:
            self._guard = None
            if self.owns_commit:
                self._foreign.rollback()
            elif self._savepoint is not None:
                point, self._savepoint = self._savepoint, None
                if point.is_active:
                    point.rollback()
        except Exception as error:  # noqa: BLE001 - the first exception is the one to report
            _log.warning("%s could not be rolled back: %s", self._foreign.what, error)


def _enter_owner(foreign: ForeignConnection) -> bool:
    """Register that a block is open; return whether there is one around it."""
    me, key = threading.get_ident(), id(foreign.owner)
    with _holding:
        holder = _held.get(key, _Holder(me, 0))
        if holder.thread != me:
            raise ConnectionUnfit(foreign.what, "another thread has a block open on it; give each thread its own")
        _held[key] = _Holder(me, holder.depth + 1)
        return holder.depth > 0


def _leave_owner(foreign: ForeignConnection) -> None:
    key = id(foreign.owner)
    with _holding:
        holder = _held.pop(key, None)
        if holder is not None and holder.depth > 1:
            _held[key] = _Holder(holder.thread, holder.depth - 1)
