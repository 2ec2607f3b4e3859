"""Sessions that zope.sqlalchemy (and with it pyramid_tm) commits: it rolls back sessions without reported writes.

It notices writes by the ORM's flush. Our statements are not part of that, so they are reported to it. The application
has imported zope.sqlalchemy; this module does not.
"""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy.orm import Session

from ap4r.errors import ConnectionUnfit

_MODULE = "zope.sqlalchemy.datamanager"


def is_registered(session: Session) -> bool:
    """Return whether zope's transaction manager commits what is done on a session."""
    return _MODULE in sys.modules and _events_of(session) is not None


def mark_session(session: Session, what: str) -> None:
    """Report a write on a session to zope, if the session is registered with it.

    :raises ConnectionUnfit: it is registered as read only, and no write on it would be committed.
    """
    events = _events_of(session) if _MODULE in sys.modules else None
    if events is None:
        return
    module: Any = sys.modules[_MODULE]
    if events.initial_state == module.STATUS_READONLY:
        raise ConnectionUnfit(
            what, "it is registered with zope.sqlalchemy as read only, so that a message would never be committed"
        )
    module.mark_changed(session, events.transaction_manager, events.keep_session)


def mark_session_on(dbapi_connection: object, what: str) -> None:
    """Report the same for the session, if any, that uses a driver's connection."""
    module: Any = sys.modules.get(_MODULE)
    for session in list(getattr(module, "_SESSION_STATE", ())):
        transaction = session.get_transaction()
        # Keyed by Connection and by Engine; the values begin with the Connection.
        taken = getattr(transaction, "_connections", {}).values()
        if any(connection.connection.dbapi_connection is dbapi_connection for connection, *_ in list(taken)):
            mark_session(session, what)


def _events_of(session: Session) -> Any:
    """Return the listener that `zope.sqlalchemy.register` added to a session, its class or its factory."""
    for listener in session.dispatch.after_begin:
        owner = getattr(listener, "__self__", None)
        if any((kind.__module__, kind.__name__) == (_MODULE, "ZopeTransactionEvents") for kind in type(owner).__mro__):
            return owner
    return None
