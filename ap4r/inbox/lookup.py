"""Where the middleware looks up what was received: the store, or the application's own database."""

from __future__ import annotations

from dataclasses import replace

from ap4r.errors import ConfigError
from ap4r.settings.settings import Settings


def find_inbox(url: str | None, sink: object, settings: Settings) -> object:
    """Give what has `recall()`. Nothing is opened.

    :param url: of the database whose tables hold the records; None takes the store.
    :param sink: an object that is the store, if one was given.
    :raises ConfigError: the URL is of no kind that is known, or the store is none with tables.
    """
    if url is None and sink is not None:
        return sink
    from ap4r.storage.open import open_store

    if url is not None:
        # The tables in the application's own database are made by `ap4r migrate`, never in passing.
        return open_store(url, replace(settings, create_tables=False))
    try:
        return open_store(settings.store, settings)
    except ConfigError as error:
        raise ConfigError("once", f"its paths are looked up in a database; give inbox=URL ({error})") from error
