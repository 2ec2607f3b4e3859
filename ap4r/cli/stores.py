"""The stores that a command works on: the one or the ones of --store, else those of the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from ap4r.cli.output import say, say_error, say_json
from ap4r.errors import Ap4rError
from ap4r.redaction import without_credentials
from ap4r.settings.load import load_settings
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store, open_stores
from ap4r.storage.sql_store import SqlStore

_Report = TypeVar("_Report")


class Opened(NamedTuple):
    """A store that a command works on, and the settings that it was opened with."""

    store: SqlStore
    settings: Settings


@contextmanager
def opened_store(url: str | None, config: str | None, *, create_tables: bool | None = False) -> Iterator[Opened]:
    """Open the store of a command that works on one, and close it.

    :param create_tables: None is as the settings say. Read-only commands never create a store.
    """
    settings = load_settings(config, store=url, stores=None if url is None else (url,), create_tables=create_tables)
    if len(settings.stores) > 1:
        say_error(f"ap4r: this is of {without_credentials(settings.store)}; others with --store")
    store = open_store(settings.store, settings)
    try:
        yield Opened(store, settings)
    finally:
        store.close()


def report_on_each(
    urls: tuple[str, ...],
    config: str | None,
    examine: Callable[[SqlStore, Settings], _Report],
    *,
    show: Callable[[_Report], None],
    as_json: Callable[[_Report], object] | None,
    needs_person: Callable[[_Report], bool],
) -> int:
    """Examine every store and print what was found; one that cannot be read does not stop the others.

    :param as_json: the value that is printed in place of what `show` prints; of several stores a list is printed.
    :returns: the worst exit code.
    """
    settings = load_settings(config, store=urls[0] if urls else None, stores=urls or None, create_tables=False)
    stores = open_stores(settings)
    values: list[object] = []
    worst = 0
    for number, store in enumerate(stores):
        if number and as_json is None:
            say()
        try:
            report = examine(store, settings)
            worst = max(worst, needs_person(report))
            if as_json is None:
                show(report)
            else:
                values.append(as_json(report))
        except Ap4rError as error:
            worst = 2
            say_error(f"ap4r: {error}")
            if len(stores) > 1:
                values.append({"store": store.name, "error": str(error)})
        finally:
            store.close()
    if as_json is not None and values:
        say_json(values if len(stores) > 1 else values[0])
    return worst
