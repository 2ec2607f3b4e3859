"""SQLAlchemy's Session, 2.0 or later: of one thread's scoped_session, of Flask-SQLAlchemy, or by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransactionOrigin

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.routing import bind_of, check_undivided
from ap4r.storage.app_connection.sqlalchemy import Nested, SqlalchemyConnection
from ap4r.storage.app_connection.zope import is_registered, mark_session


class SessionConnection(SqlalchemyConnection):
    """A `ForeignConnection` on a SQLAlchemy Session."""

    what = "a SQLAlchemy Session"

    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._bind = bind_of(session, prefix, self.what)
        super().__init__(self._bind.engine, session)

    @property
    def has_failed(self) -> bool:
        """As SQLAlchemy and the driver report it."""
        session = self._session
        if not session.is_active:
            return not _is_committed(session)
        if not session.in_transaction():
            return False
        driver = self._driver()
        return driver is not None and driver.has_failed

    @property
    def is_open(self) -> bool:
        """Return whether `begin` was called: on the session, or on the Connection that it is bound to.

        What zope's transaction manager commits always counts as open.
        """
        session, root = self._session, self._session.get_transaction()
        if is_registered(session):
            return True
        if session.in_nested_transaction() or (root and root.origin is not SessionTransactionOrigin.AUTOBEGIN):
            return True
        if not isinstance(self._bind, Connection):
            return False
        if root is None:
            return self._bind.in_transaction()
        # Whether the session commits its work there; it does not if the Connection was in a transaction before.
        taken = getattr(root, "_connections", {}).get(self._bind)
        return self._bind.in_transaction() if taken is None else not taken[2]

    @property
    def is_within_transaction(self) -> bool:
        """As SQLAlchemy reports it."""
        return self._session.in_transaction() and self._session.is_active

    def check(self) -> None:
        """Refuse a session that has failed, or is in an event in which it runs no statement."""
        if _is_committed(self._session):
            raise ConnectionUnfit(
                self.what,
                "it is in an after_commit event, of a commit or of a savepoint's release, and runs no statement there; "
                "put the message before",
            )
        if not self._session.autobegin and not self._session.in_transaction():
            raise ConnectionUnfit(self.what, "it was made with autobegin=False; call its begin() first")
        if self.has_failed:
            raise ConnectionUnfit(self.what, "its transaction has failed; call its rollback() first")

    @property
    def innermost(self) -> Any:
        """Return the last savepoint that was begun on the session."""
        return self._session.get_nested_transaction()

    def connection(self) -> Connection:
        """Return the Connection that the session uses."""
        return self._session.connection(bind_arguments={"bind": self._bind})

    def begin(self) -> None:
        """Begin, or use the transaction that began by itself."""
        self._open()

    def join(self) -> None:
        """Begin as the next statement would."""
        self._open()

    def flush(self) -> None:
        """Write the session's pending changes."""
        self._session.flush()

    def commit(self) -> None:
        """Commit."""
        self._session.commit()

    def rollback(self) -> None:
        """Roll back."""
        self._session.rollback()

    def savepoint(self) -> Nested:
        """Begin a transaction within the open one."""
        return Nested(self._session.begin_nested())

    def note_write(self) -> None:
        """Mark the session for zope.sqlalchemy, if that ends the transaction."""
        mark_session(self._session, self.what)

    def check_undivided(self) -> None:
        """Check that the session has not written to other databases."""
        check_undivided(self._session, self.connection(), self.what)

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Register with the session's events."""
        session = self._session
        if session not in _waiting:
            event.listen(session, "after_commit", _committed)
            event.listen(session, "after_rollback", _rolled_back)
        _waiting.setdefault(session, []).append(callback)
        return True


#: The callbacks of each session. The listeners stay, because they must not be removed while they are called.
_waiting: WeakKeyDictionary[Session, list[Callable[[], None]]] = WeakKeyDictionary()


def _is_committed(session: Session) -> bool:
    """Return whether the session is in its after_commit, where it runs no statement although nothing has failed."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    return getattr(getattr(transaction, "_state", None), "name", "") == "COMMITTED"


def _committed(session: Session) -> None:
    # The release of a savepoint calls this too.
    if session.in_nested_transaction():
        return
    callbacks = _waiting.get(session, [])
    due, callbacks[:] = list(callbacks), []
    for callback in due:
        callback()


def _rolled_back(session: Session) -> None:
    if not session.in_nested_transaction():
        _waiting.get(session, []).clear()
