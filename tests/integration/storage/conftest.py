"""A store on a SQLite file of its own, and the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from ap4r.storage.sql_store import SqlStore

Open = Callable[..., SqlStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the file of the store; there is none yet."""
    return tmp_path / "store.db"


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open stores on files, with settings: `opened(path, …)`. They are closed with the test."""
    stores: list[SqlStore] = []

    def open_one(path: Path, **settings: Any) -> SqlStore:
        stores.append(open_store(f"sqlite:///{path}", Settings(**settings)))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open, path: Path) -> SqlStore:
    """Return an empty store on `path`."""
    return opened(path)
