"""Which tests `make test` runs, and what becomes of a test whose server is missing.

A missing server skips its tests on a person's machine; where CI is set it fails them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stalls import Stalls

_TESTS = Path(__file__).parent
#: What `make test` leaves to `make test-all`: whatever kills processes, stops servers or builds packages, and every
#: form of a test that needs a database server.
_FULL = (
    "faults",
    "stores",
    "suites",
    "servers",
    "integration/foreign",
    "integration/dispatcher/test_compute.py",
    "integration/dispatcher/test_examples.py",
    "integration/dispatcher/test_rolling_restart.py",
    "integration/inbox/test_kill.py",
    "integration/middleware/test_servers.py",
    "integration/protocols/test_package.py",
    "meta/test_benchmarks.py",
    "meta/test_demo.py",
    "meta/test_packaging.py",
)
_FULL_PATHS = frozenset(_TESTS / place for place in _FULL)
_SERVERS = re.compile("mariadb|mysql|postgresql|psycopg|galera", re.IGNORECASE)
#: Files that take minutes, begun first so that no process of pytest-xdist is left alone with one of them at the end.
_LONG = ("test_bank.py", "test_outages.py", "test_connections.py", "test_kill.py", "test_ledger.py", "test_galera.py")
_MISSING = re.compile(r"is not installed|could not import|no server")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark with `full` what only `make test-all` runs."""
    parameters = item.callspec.id if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
    if is_full(item.path, parameters):
        item.add_marker(pytest.mark.full)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, after the order was made random."""
    items.sort(key=lambda item: item.path.name not in _LONG)


def is_full(path: Path, parameters: str) -> bool:
    """Return whether a test is left to `make test-all`, by its file and the id of its parameters."""
    if not _FULL_PATHS.isdisjoint((path, *path.parents)):
        return True
    return "unit" not in path.parts and _SERVERS.search(parameters) is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Fail a test that was skipped because something is missing, if CI is set."""
    report = yield
    if os.environ.get("CI") and report.skipped and _MISSING.search(str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"CI is set, and this test was skipped: {report.longrepr[-1]}"
    return report


@pytest.fixture
def stalls() -> Iterator[Stalls]:
    """Yield the stalls of the machine, for a test that checks a deadline."""
    with Stalls() as watched:
        yield watched
