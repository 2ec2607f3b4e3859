"""Recognise what an application gives as its connection, or say what it should give instead.

By the object's class: nothing is imported that the application has not imported itself.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from ap4r.errors import ConnectionUnfit
from ap4r.storage.foreign.connection import ForeignConnection

_LEAST_SQLALCHEMY = (2, 0)
_ASYNCHRONOUS = ("sqlalchemy.ext.asyncio", "aiosqlite", "asyncpg", "aiomysql", "asyncmy", "aiopg")
_KNOWN = (
    "a SQLAlchemy Session or Connection, a Django alias, or a connection of sqlite3, psycopg 3, PyMySQL or mysqlclient"
)


def recognise(conn: Any, using: str | None = None) -> ForeignConnection:
    """Give what speaks to an application's connection. Nothing is sent to the database.

    :param conn: a SQLAlchemy Session, scoped_session (Flask-SQLAlchemy's `db.session`) or Connection; a connection of
        sqlite3, psycopg, PyMySQL or mysqlclient; Django's own, or the name of its alias.
    :param using: the alias of a Django database, in the place of `conn`.
    :raises ConnectionUnfit: it is none of these, or of a kind that cannot carry messages; says what to give.
    """
    if using is not None:
        if conn is not None:
            raise ConnectionUnfit(_named(conn), f"give either it or using={using!r}")
        conn = using
    if isinstance(conn, str):
        from ap4r.storage.foreign.django import DjangoConnection

        return DjangoConnection(conn)
    _refuse_asynchronous(conn)
    found = _of_sqlalchemy(conn) or _of_django(conn) or _of_driver(conn)
    if found is None:
        raise ConnectionUnfit(_named(conn), f"no connection that ap4r knows; give {_KNOWN}")
    return found


def _refuse_asynchronous(conn: object) -> None:
    for kind in type(conn).__mro__:
        module, name = kind.__module__, kind.__name__
        is_psycopg = module.partition(".")[0] in ("psycopg", "psycopg_pool") and name.startswith("Async")
        if is_psycopg or any(module == known or module.startswith(f"{known}.") for known in _ASYNCHRONOUS):
            raise ConnectionUnfit(
                _named(conn), f"it is asynchronous, and ap4r is for WSGI, which is not; give {_KNOWN}"
            )


def _of_sqlalchemy(conn: Any) -> ForeignConnection | None:
    if not any(kind.__module__.partition(".")[0] == "sqlalchemy" for kind in type(conn).__mro__):
        return None
    version = getattr(sys.modules.get("sqlalchemy"), "__version__", "0")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < _LEAST_SQLALCHEMY:
        raise ConnectionUnfit(_named(conn), f"SQLAlchemy {version} is too old; use 2.0 or later")
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session, scoped_session, sessionmaker
    from sqlalchemy.pool import PoolProxiedConnection

    from ap4r.storage.foreign.session import SessionConnection
    from ap4r.storage.foreign.sqlalchemy import CoreConnection

    if isinstance(conn, scoped_session):
        conn = conn()
    if isinstance(conn, Session):
        return SessionConnection(conn)
    if isinstance(conn, Connection):
        return CoreConnection(conn)
    if isinstance(conn, Engine):
        raise ConnectionUnfit(_named(conn), "an Engine is not a connection; give a Connection that it has made")
    if isinstance(conn, sessionmaker):
        raise ConnectionUnfit(_named(conn), "it makes sessions; call it, and give the Session that it makes")
    if isinstance(conn, PoolProxiedConnection):
        if conn.dbapi_connection is None:
            raise ConnectionUnfit(_named(conn), "it is closed")
        return _of_driver(conn.dbapi_connection)
    return None


def _of_django(conn: Any) -> ForeignConnection | None:
    if "django.db" not in sys.modules:
        return None
    from ap4r.storage.foreign.django import DjangoConnection

    for kind in type(conn).__mro__:
        match kind.__module__, kind.__name__:
            case "django.utils.connection", "ConnectionProxy":
                return DjangoConnection(conn._alias)
            case "django.db.backends.base.base", "BaseDatabaseWrapper":
                return DjangoConnection(conn.alias, conn)
    return None


def _of_driver(conn: Any) -> ForeignConnection | None:
    from ap4r.storage.foreign.dbapi import DbapiConnection
    from ap4r.storage.foreign.drivers import driver_of

    driver = driver_of(conn)
    return None if driver is None else DbapiConnection(driver)


def _named(conn: object) -> str:
    kind = type(conn)
    return f"{kind.__module__}.{kind.__qualname__}"
