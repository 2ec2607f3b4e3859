"""Recognises the connection that an application passes, or says what it should pass instead.

It goes by the object's class, and imports nothing that the application has not imported itself.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.base import ForeignConnection
from ap4r.storage.app_connection.drivers import driver_of, is_driver
from ap4r.storage.app_connection.unwrap import is_returned, unwrapped

_LEAST_SQLALCHEMY = (2, 0)
_ASYNCHRONOUS = ("sqlalchemy.ext.asyncio", "aiosqlite", "asyncpg", "aiomysql", "asyncmy", "aiopg")
_KNOWN = (
    "a SQLAlchemy Session or Connection, a Django alias, or a connection of sqlite3, psycopg, psycopg2, PyMySQL or "
    "mysqlclient"
)


def recognise(conn: Any, using: str | None = None, prefix: str = "ap4r_") -> ForeignConnection:
    """Return the adapter for an application's connection. Nothing is sent to the database.

    :param conn: a SQLAlchemy Session, scoped_session (Flask-SQLAlchemy's `db.session`) or Connection; a connection of
            sqlite3, psycopg, psycopg2, PyMySQL or mysqlclient; Django's own, or the name of its alias. Also a pool's,
            instrumentation's or proxy's wrapper around one of them.
        :param using: the alias of a Django database, instead of `conn`.
        :param prefix: the prefix of the tables' names, for a Session that chooses its database by statement.
        :raises ConnectionUnfit: it is none of these, or cannot carry messages; the text says what to pass.
    """
    if using is not None:
        if conn is not None:
            raise ConnectionUnfit(_named(conn), f"give either it or using={using!r}")
        conn = using
    if isinstance(conn, str):
        from ap4r.storage.app_connection.django import DjangoConnection

        return DjangoConnection(conn)
    inner = unwrapped(conn, _is_known)
    _refuse_asynchronous(inner)
    # A driver's connection is ended through its wrapper, which may keep track of transactions.
    found = _of_sqlalchemy(inner, prefix) or _of_django(inner) or _of_driver(conn)
    if found is None and is_returned(conn):
        raise ConnectionUnfit(_named(conn), "it is closed")
    if found is None:
        raise ConnectionUnfit(_named(conn), f"it is not a connection that ap4r supports; pass {_KNOWN}")
    return found


def _is_known(conn: object) -> bool:
    roots = {kind.__module__.partition(".")[0] for kind in type(conn).__mro__}
    return "sqlalchemy" in roots or _alias_of(conn) is not None or is_driver(conn) or _is_asynchronous(conn)


def _is_asynchronous(conn: object) -> bool:
    for kind in type(conn).__mro__:
        module, name = kind.__module__, kind.__name__
        is_psycopg = module.partition(".")[0] in ("psycopg", "psycopg_pool") and name.startswith("Async")
        if is_psycopg or any(module == known or module.startswith(f"{known}.") for known in _ASYNCHRONOUS):
            return True
    return False


def _refuse_asynchronous(conn: object) -> None:
    if _is_asynchronous(conn):
        raise ConnectionUnfit(_named(conn), f"it is asynchronous, and ap4r for WSGI is synchronous; pass {_KNOWN}")


def _of_sqlalchemy(conn: Any, prefix: str) -> ForeignConnection | None:
    if not any(kind.__module__.partition(".")[0] == "sqlalchemy" for kind in type(conn).__mro__):
        return None
    version = getattr(sys.modules.get("sqlalchemy"), "__version__", "0")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < _LEAST_SQLALCHEMY:
        raise ConnectionUnfit(_named(conn), f"SQLAlchemy {version} is too old; use 2.0 or later")
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session, scoped_session, sessionmaker
    from sqlalchemy.pool import PoolProxiedConnection

    from ap4r.storage.app_connection.sqlalchemy import CoreConnection
    from ap4r.storage.app_connection.sqlalchemy_session import SessionConnection

    if isinstance(conn, scoped_session):
        conn = conn()
    if isinstance(conn, Session):
        return SessionConnection(conn, prefix)
    if isinstance(conn, Connection):
        return CoreConnection(conn)
    if isinstance(conn, Engine):
        raise ConnectionUnfit(_named(conn), "an Engine is not a connection; pass a Connection of it")
    if isinstance(conn, sessionmaker):
        raise ConnectionUnfit(_named(conn), "it is a factory of sessions; call it, and pass the Session")
    if isinstance(conn, PoolProxiedConnection):
        if conn.dbapi_connection is None:
            raise ConnectionUnfit(_named(conn), "it is closed")
        return _of_driver(conn.dbapi_connection)
    return None


def _of_django(conn: Any) -> ForeignConnection | None:
    alias = _alias_of(conn)
    if alias is None:
        return None
    from ap4r.storage.app_connection.django import DjangoConnection

    is_proxy = type(conn).__name__ == "ConnectionProxy"
    return DjangoConnection(alias) if is_proxy else DjangoConnection(alias, conn)


def _alias_of(conn: Any) -> str | None:
    for kind in type(conn).__mro__:
        match kind.__module__, kind.__name__:
            case "django.utils.connection", "ConnectionProxy":
                return str(conn._alias)
            case "django.db.backends.base.base", "BaseDatabaseWrapper":
                return str(conn.alias)
    return None


def _of_driver(conn: Any) -> ForeignConnection | None:
    from ap4r.storage.app_connection.dbapi import DbapiConnection

    driver = driver_of(conn)
    return None if driver is None else DbapiConnection(driver)


def _named(conn: object) -> str:
    kind = type(conn)
    return f"{kind.__module__}.{kind.__qualname__}"
