"""Open a store by its URL. Nothing is connected before the first call."""

from __future__ import annotations

from ap4r.errors import ConfigError, without_credentials
from ap4r.settings import Settings
from ap4r.storage.sql.store import SqlStore
from ap4r.storage.sqlite import PREFIX as SQLITE
from ap4r.storage.sqlite import SqliteDatabase
from ap4r.storage.store import StoreRules


def open_store(url: str, settings: Settings) -> SqlStore:
    """Give the store that a URL names.

    :raises ConfigError: the URL is of no kind that this version knows.
    """
    if not url.startswith(SQLITE) or url == SQLITE:
        shown = without_credentials(url)
        raise ConfigError("store", f"{shown} is no store of this version; write sqlite:///PATH, as sqlite:///ap4r.db")
    if "?" in url:
        raise ConfigError("store", f"{url} has options behind a ?, and a SQLite store takes none")
    return SqlStore(SqliteDatabase(url, settings.store_deadline_seconds), store_rules(settings))


def store_rules(settings: Settings) -> StoreRules:
    """Give the settings that a store needs."""
    return StoreRules(
        create_tables=settings.create_tables,
        table_prefix=settings.table_prefix,
        put_memory_seconds=settings.put_memory_seconds,
        deadline_seconds=settings.store_deadline_seconds,
        delivery=settings.delivery_rules,
    )
