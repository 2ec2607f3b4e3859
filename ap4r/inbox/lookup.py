"""Finds where the middleware looks records up: in the store, or in the application's own database."""

from __future__ import annotations

from dataclasses import replace

from ap4r.errors import ConfigError
from ap4r.settings.settings import Settings


def find_inbox(url: str | None, sink: object, settings: Settings) -> object:
    """Return an object with `recall()`. Nothing is opened.

    :param url: of the database whose tables hold the records; None means the store.
    :param sink: an object that is the store, if one was passed.
    :raises ConfigError: the URL has an unknown kind, or the store has no tables.
    """
    if url is None and sink is not None:
        return sink
    from ap4r.storage.open import open_store

    if url is not None:
        # The tables in the application's own database are created only by `ap4r migrate`.
        return open_store(url, replace(settings, create_tables=False))
    try:
        return open_store(settings.store, settings)
    except ConfigError as error:
        raise ConfigError("once", f"repeats are looked up in a database; pass inbox=URL ({error})") from error
