"""Every case of this folder is written once and runs on every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ap4r.storage.store import Store
from tests.contract.backends import BACKENDS, SHARED, Backend, SharedBackend, sqlite_template

Open = Callable[..., Store]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the template of all SQLite files of the tests."""
    return sqlite_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path, template: Path) -> Backend:
    """Return an empty database of each kind."""
    return BACKENDS[request.param](tmp_path, template)


@pytest.fixture(params=sorted(SHARED))
def shared(request: pytest.FixtureRequest, tmp_path: Path, template: Path) -> SharedBackend:
    """Return an empty database of each kind that several processes can open."""
    return SHARED[request.param](tmp_path, template)


@pytest.fixture
def opened() -> Iterator[Callable[[Backend], Open]]:
    """Open stores that are closed with the test: `opened(backend)(**settings)`."""
    stores: list[Store] = []

    def of(backend: Backend) -> Open:
        def open_one(**settings: Any) -> Store:
            stores.append(backend.open(**settings))
            return stores[-1]

        return open_one

    yield of
    for store in stores:
        store.close()


@pytest.fixture
def open_store(backend: Backend, opened: Callable[[Backend], Open]) -> Open:
    """Open a store on the test's database, with settings."""
    return opened(backend)


@pytest.fixture
def store(open_store: Open) -> Store:
    """Return an empty store."""
    return open_store()
