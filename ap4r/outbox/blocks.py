"""The blocks of a handle: groups that follow the verdict, and the application's own transactions, which do not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from ap4r.errors import HandleClosed, OptionRefused
from ap4r.outbox.builder import SingleUse
from ap4r.outbox.pending import OpenBlock, PendingMessages
from ap4r.settings.settings import Settings
from ap4r.storage.app_connection.argument import Given, Group, NotGiven, Scope, application_connection, given_connection

if TYPE_CHECKING:
    from ap4r.outbox.app_transaction import Joined


class Blocks:
    """An outbox, and the blocks that its threads open on it."""

    __slots__ = ("_closed", "_find_connection", "_late_bells", "_limits", "_lock", "_outbox")

    # The handle sets these.
    _limits: Settings
    _find_connection: Callable[[], object] | None
    _outbox: PendingMessages | None
    _lock: threading.Lock
    _closed: bool
    _late_bells: list[Callable[[], None]]

    def transaction(
        self, conn: object = NotGiven.CONN, *, using: str | None = None, strict: bool = False
    ) -> AbstractContextManager[Scope]:
        """Return a block whose messages are stored together after a clean end, and not at all after an exception.

        With a connection of the application (or the middleware's `connection=`) this is store and forward: the block
        is a transaction on that connection, which it commits after a clean end and rolls back after an exception; its
        messages are stored in it, with the application's data, and do not depend on the response. If a transaction is
        open already, the block is a savepoint in it and does not end it: see the scope's `owns_commit`.

        Without a connection the messages enter the outbox together and then follow the request's verdict.

        A block inside a block joins it; without an argument its messages are stored together, at its end. A block
        contains the messages of the thread (or greenlet) that opened it.

        :param conn: a SQLAlchemy Session, scoped_session or Connection; a connection of sqlite3, psycopg,
            psycopg2, PyMySQL or mysqlclient; also one that a pool or instrumentation has wrapped.
        :param using: the alias of a Django database, instead of `conn`.
        :param strict: refuse a transaction that is already open.
        :raises ConnectionUnfit: the connection cannot carry messages; the text has the reason.
        :raises SchemaMismatch: its database has no tables of ap4r, or of another version; nothing was stored.
        :raises TransactionLost: at the block's end: the transaction was ended within it. Nothing is stored.
        :raises StoreUnavailable: at the block's end: all is rolled back, or with `outcome_unknown` may be stored.
        :raises HandleClosed: the request already has its verdict, at the block's start or at a group's end.
        """
        given = given_connection(conn, using, self._find_connection)
        return SingleUse("transaction", _GroupBlock(self) if given is None else self._on_connection(given, strict))

    def join(self, conn: object = NotGiven.CONN, *, using: str | None = None) -> Joined:
        """Join a transaction of the application, which other code ends; end nothing.

        From now on each message is stored over `conn` when it is sent, and commits or rolls back with that
        transaction: until the end of the `with` block if it is used as one, else until the request's end.

        :raises ConnectionUnfit: there is no transaction to join, or the connection cannot carry messages; the text has
            the reason. `async_to` raises it too, once that transaction has ended.
        :raises SchemaMismatch: its database has no tables of ap4r, or of another version; nothing was stored.
        :raises HandleClosed: the request already has its verdict.
        """
        from ap4r.outbox.app_transaction import Joined

        given = given_connection(conn, using, self._find_connection)
        if given is None:
            raise OptionRefused("conn", None, "pass the connection whose transaction is to be joined")
        with self._lock:
            self._open_outbox()
        prefix = self._limits.table_prefix
        joined = Joined(application_connection(given, prefix), prefix, self._late_bells.append)
        with self._lock:
            block = self._open_outbox().open_block(threading.get_ident(), joined)

        def leave() -> None:
            joined.leave = _nothing
            with self._lock:
                self._used_outbox().close_block(block, keep=False)

        joined.leave = leave
        return joined

    @contextmanager
    def _on_connection(self, given: Given, strict: bool) -> Iterator[Scope]:
        from ap4r.outbox.app_transaction import OwnTransaction

        with self._lock:
            around = self._open_outbox().outlet_of(threading.get_ident())
        prefix = self._limits.table_prefix
        foreign = application_connection(given, prefix)
        is_inner = given.is_found and around is not None and around.is_on(foreign)
        outlet = OwnTransaction(foreign, prefix, self._late_bells.append, strict=strict)
        with self._lock:
            block = self._used_outbox().open_block(threading.get_ident(), outlet)
        try:
            if is_inner:
                # As without a connection, its messages are stored together.
                with _GroupBlock(self):
                    yield outlet
            else:
                yield outlet
        except BaseException:
            self._close(block)
            outlet.abandon()
            raise
        try:
            # Hooks of the application's library may send messages until the COMMIT, and these commit with it.
            outlet.finish()
        finally:
            self._close(block)

    def _begin_group(self) -> OpenBlock:
        with self._lock:
            outbox, thread = self._open_outbox(), threading.get_ident()
            around = outbox.outlet_of(thread)
            # A message sent in an inner savepoint of the application is stored at once, and ends as that does.
            begun = None if around is None else around.savepoint
            is_passed = None if around is None else lambda: around.savepoint != begun
            return outbox.open_block(thread, is_passed=is_passed)

    def _end_group(self, block: OpenBlock, *, clean: bool) -> None:
        with self._lock:
            outlet = self._used_outbox().outlet_of(block.thread)
            late = clean and self._closed and bool(block.entries) and outlet is None
            due = self._used_outbox().close_block(block, keep=clean and not late)
        if late:
            raise HandleClosed
        if due:
            outlet.write(due)

    def _close(self, block: OpenBlock) -> None:
        with self._lock:
            self._used_outbox().close_block(block, keep=True)

    def _open_outbox(self) -> PendingMessages:
        if self._closed:
            raise HandleClosed
        return self._used_outbox()

    def _used_outbox(self) -> PendingMessages:
        if self._outbox is None:
            self._outbox = PendingMessages(self._limits)
        return self._outbox


class _GroupBlock(AbstractContextManager[Scope]):
    """A block without a connection.

    It is no generator: Python ends a forgotten generator, and the block would lose its messages before the verdict.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._block: OpenBlock | None = None

    def __enter__(self) -> Scope:
        self._block = self._blocks._begin_group()
        return Group()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._block is not None
        self._blocks._end_group(self._block, clean=kind is None)


def _nothing() -> None:
    pass
