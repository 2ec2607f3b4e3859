"""Real processes of `twistd ap4r`, each test with a folder, a store and a target of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Processes
from tests.support.system import System
from tests.support.target import ScriptedTarget


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; all are ended with the test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture
def target() -> Iterator[ScriptedTarget]:
    """A target in threads of this process."""
    with ScriptedTarget() as scripted:
        yield scripted


@pytest.fixture
def system(processes: Processes, target: ScriptedTarget) -> System:
    """One store, one target and whatever is started around them."""
    return System(processes, target)
