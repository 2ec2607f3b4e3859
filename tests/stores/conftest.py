"""What the tests of servers have: MariaDB and PostgreSQL of their own, and a place to say what was measured."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from ap4r.storage.sql_store import SqlStore
from tests.support.databases import KINDS, Server, shared_server
from tests.support.processes import Processes

Open = Callable[..., SqlStore]
_MEASURED = pytest.StashKey[list[str]]()
_PROCESSES = pytest.StashKey[Processes]()


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """Name a kind of server."""
    return str(request.param)


@pytest.fixture
def server(kind: str) -> Server:
    """Return the server of that kind which all tests share."""
    return shared_server(kind)


@pytest.fixture
def url(server: Server) -> str:
    """Return an empty database of the test's own."""
    return server.make("own")


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open stores that are closed with the test: `opened(url, …)`."""
    stores: list[SqlStore] = []

    def open_one(url: str, **settings: Any) -> SqlStore:
        stores.append(open_store(url, Settings(store=url, **settings)))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open, url: str) -> SqlStore:
    """Return an empty store."""
    return opened(url)


@pytest.fixture
def processes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Start processes; all are ended with the test, and what they said is shown when it fails."""
    with Processes(tmp_path) as started:
        request.node.stash[_PROCESSES] = started
        yield started


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what records a measurement; it is printed after all tests."""
    lines = request.config.stash.setdefault(_MEASURED, [])
    return lambda text: lines.append(f"{request.node.name}: {text}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show what the processes said when a test fails."""
    report = yield
    started = item.stash.get(_PROCESSES, None)
    if report.failed and started is not None:
        report.sections.append(("what the processes said last", started.outputs()))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was measured."""
    lines = config.stash.get(_MEASURED, [])
    if lines:
        terminalreporter.section("measured on the stores")
        for line in lines:
            terminalreporter.write_line(line)
