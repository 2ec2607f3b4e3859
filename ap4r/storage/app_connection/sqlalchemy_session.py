"""SQLAlchemy's Session, from 2.0 up: of one thread's scoped_session, of Flask-SQLAlchemy, or by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransactionOrigin

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.routing import bind_of, check_undivided
from ap4r.storage.app_connection.sqlalchemy import Nested, OnSqlalchemy
from ap4r.storage.app_connection.zope import is_registered, mark_session


class SessionConnection(OnSqlalchemy):
    """A `ForeignConnection` on a SQLAlchemy Session."""

    what = "a SQLAlchemy Session"

    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._bind = bind_of(session, prefix, self.what)
        super().__init__(self._bind.engine, session)

    @property
    def has_failed(self) -> bool:
        """Ask SQLAlchemy, and the driver."""
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

        What zope's transaction manager commits is always open.
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
        # Whether the session will commit what it does there; it does not where the Connection was in a transaction.
        taken = getattr(root, "_connections", {}).get(self._bind)
        return self._bind.in_transaction() if taken is None else not taken[2]

    @property
    def is_within_transaction(self) -> bool:
        """Ask SQLAlchemy."""
        return self._session.in_transaction() and self._session.is_active

    def check(self) -> None:
        """Refuse what has failed, or is in an event that takes no statement."""
        if _is_committed(self._session):
            raise ConnectionUnfit(
                self.what,
                "it tells of a commit or of a savepoint's release just now (after_commit), and takes no statement "
                "there; say the message before",
            )
        if not self._session.autobegin and not self._session.in_transaction():
            raise ConnectionUnfit(self.what, "it was made with autobegin=False; call its begin() first")
        if self.has_failed:
            raise ConnectionUnfit(self.what, "its transaction has failed; call its rollback() first")

    @property
    def innermost(self) -> Any:
        """Give the savepoint that was begun last on the session."""
        return self._session.get_nested_transaction()

    def connection(self) -> Connection:
        """Give the Connection that the session works on."""
        return self._session.connection(bind_arguments={"bind": self._bind})

    def begin(self) -> None:
        """Begin, or take over what was begun by itself."""
        self._open()

    def join(self) -> None:
        """Begin as the next statement would."""
        self._open()

    def flush(self) -> None:
        """Write what the session holds back."""
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
        """Tell zope.sqlalchemy, where that ends the transaction."""
        mark_session(self._session, self.what)

    def check_undivided(self) -> None:
        """Look for other databases that the session has written to."""
        check_undivided(self._session, self.connection(), self.what)

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Hand it to the session's events."""
        session = self._session
        if session not in _waiting:
            event.listen(session, "after_commit", _committed)
            event.listen(session, "after_rollback", _rolled_back)
        _waiting.setdefault(session, []).append(callback)
        return True


#: What is to be called, by session. The listeners stay: taking one away while it is called is not allowed.
_waiting: WeakKeyDictionary[Session, list[Callable[[], None]]] = WeakKeyDictionary()


def _is_committed(session: Session) -> bool:
    """Tell whether the session is in its after_commit, where it takes no statement although nothing has failed."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    return getattr(getattr(transaction, "_state", None), "name", "") == "COMMITTED"


def _committed(session: Session) -> None:
    # The release of a savepoint comes here too.
    if session.in_nested_transaction():
        return
    callbacks = _waiting.get(session, [])
    due, callbacks[:] = list(callbacks), []
    for callback in due:
        callback()


def _rolled_back(session: Session) -> None:
    if not session.in_nested_transaction():
        _waiting.get(session, []).clear()
