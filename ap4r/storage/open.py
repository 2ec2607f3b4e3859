"""Opens a store by its URL. No connection is made before the first call."""

from __future__ import annotations

import os

from ap4r.errors import ConfigError
from ap4r.redaction import without_credentials
from ap4r.settings.settings import Settings
from ap4r.settings.store_url import INTAKE_SCHEMES, SQLITE
from ap4r.storage.databases.database import Database
from ap4r.storage.databases.hosts import parse_url
from ap4r.storage.sql_store import SqlStore
from ap4r.storage.store import StoreRules

_MYSQL, _POSTGRESQL = "mysql+pymysql://", "postgresql+psycopg://"
_PORTS = {"mysql": 3306, "postgresql": 5432}
_LOOPBACK = {"": "127.0.0.1", "localhost": "127.0.0.1"}
#: Options of the two drivers that select the server, the database or the schema.
_PLACES = frozenset({"host", "hostaddr", "port", "unix_socket", "options", "service", "dbname", "db", "database"})


def open_store(url: str, settings: Settings) -> SqlStore:
    """Return the store that a URL names.

    :raises ConfigError: the URL's kind is unknown to this version, or its driver is not installed.
    """
    return SqlStore(_database(url, settings), store_rules(settings))


def open_stores(settings: Settings) -> list[SqlStore]:
    """Return every store to dispatch from, once each, even if it is named repeatedly or in several spellings.

    :raises ConfigError: a URL's kind is unknown to this version, or its driver is not installed.
    """
    named: dict[object, SqlStore] = {}
    for url in settings.stores or (settings.store,):
        store = open_store(url, settings)
        named.setdefault(_identity(url), store)
    return list(named.values())


def store_rules(settings: Settings) -> StoreRules:
    """Return the settings that a store needs."""
    return StoreRules(
        create_tables=settings.create_tables,
        table_prefix=settings.table_prefix,
        put_memory_seconds=settings.put_memory_seconds,
        intake_memory_seconds=settings.intake_memory_seconds,
        deadline_seconds=settings.store_deadline_seconds,
        delivery=settings.delivery_rules,
    )


def _identity(url: str) -> object:
    """Return what all spellings of one store's URL have in common.

    In doubt they count as two: two workers on one store cost a few queries more, a missing one delivers nothing.
    """
    if url.startswith(SQLITE):
        path = os.path.realpath(url.removeprefix(SQLITE))
        try:
            file = os.stat(path)
        except OSError:
            return path
        return file.st_dev, file.st_ino
    parsed, hosts = parse_url(url)
    kind = parsed.get_backend_name()
    places = frozenset(
        (_LOOPBACK.get((host.name or "").lower(), (host.name or "").lower()), host.port or _PORTS.get(kind))
        for host in hosts
    )
    # On PostgreSQL the user and the session's options determine the schema of the tables.
    user = parsed.username if kind == "postgresql" else None
    elsewhere = tuple(sorted((name, parsed.query[name]) for name in _PLACES & parsed.query.keys()))
    return kind, places, parsed.database, user, elsewhere


def _database(url: str, settings: Settings) -> Database:
    # Each database's module is imported when it is needed, so that only its own driver must be installed.
    deadline_seconds = settings.store_deadline_seconds
    # Headers are stored as JSON, which at worst doubles their size.
    row_bytes = settings.max_body_bytes + 2 * settings.max_header_bytes
    if url.startswith(SQLITE) and url != SQLITE:
        from ap4r.storage.databases.sqlite.sqlite import SqliteDatabase

        if "?" in url:
            raise ConfigError("store", f"{url} has options after a ?, which a SQLite store does not support")
        return SqliteDatabase(url, deadline_seconds)
    if url.startswith(_MYSQL):
        from ap4r.storage.databases.mysql.mysql import MysqlDatabase

        return MysqlDatabase(*parse_url(url), deadline_seconds, row_bytes)
    if url.startswith(_POSTGRESQL):
        try:
            from ap4r.storage.databases.postgresql.postgresql import PostgresqlDatabase
        except ImportError as error:
            raise ConfigError("store", f"{error}; install ap4r[postgresql]") from error
        return PostgresqlDatabase(*parse_url(url), deadline_seconds, row_bytes)
    if url.startswith(INTAKE_SCHEMES):
        raise ConfigError(
            "store",
            f"{without_credentials(url)} is the intake of a dispatcher, through which applications put messages; "
            "delivering and managing messages needs the database itself, such as sqlite:///ap4r.db",
        )
    raise ConfigError(
        "store",
        f"{without_credentials(url)} is not a store that this version supports; use {SQLITE}PATH, such as "
        f"sqlite:///ap4r.db, or {_MYSQL}USER:PASSWORD@HOST/DATABASE, or {_POSTGRESQL}USER:PASSWORD@HOST/DATABASE",
    )
