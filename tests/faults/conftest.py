"""What every fault test has: a store, a target, processes that end with it, and a place to say what was measured."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Processes
from tests.support.system import System
from tests.support.target import ScriptedTarget

_MEASURED = pytest.StashKey[list[str]]()
_PROCESSES = pytest.StashKey[Processes]()


@pytest.fixture
def processes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Start processes; all are ended with the test, and what they said is shown when it fails."""
    with Processes(tmp_path) as started:
        request.node.stash[_PROCESSES] = started
        yield started


@pytest.fixture
def target() -> Iterator[ScriptedTarget]:
    """A target in threads of this process, with no door open yet."""
    with ScriptedTarget() as scripted:
        yield scripted


@pytest.fixture
def system(processes: Processes, target: ScriptedTarget) -> System:
    """One store, one target and whatever is started around them."""
    return System(processes, target)


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
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
