"""`make lanes` runs all tests, in lanes side by side: each test in one of them, and none is lost on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import lanes
from tests.meta.tree import ROOT
from tests.support.probe import wait_until
from tests.support.processes import children_of


def test_what_a_lane_names_is_there():
    """Each place that a lane names exists, is named once, and holds tests."""
    named = [place for places in lanes.LANES.values() for place in places]
    assert len(set(named)) == len(named)
    for place in named:
        path = ROOT / place
        assert path.is_file() or any(path.rglob("test_*.py")), place


def test_a_file_is_in_the_lane_of_the_nearest_place():
    """A file is in the lane that names it or its folder; what nobody names is in the first one."""
    assert lanes.lane_of(ROOT / "tests/stores/test_tls.py") == "servers"
    assert lanes.lane_of(ROOT / "tests/integration/deep/test_new.py") == "servers"
    assert lanes.lane_of(ROOT / "tests/new/test_new.py") == lanes.FIRST
    assert lanes.lane_of(Path("/elsewhere/test_new.py")) == lanes.FIRST


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_each_file_is_read_in_one_lane(path):
    """Each test file is read in one lane and left by all others."""
    left = [lanes.pytest_ignore_collect(path, _Chosen(lane)) is True for lane in lanes.LANES]
    assert left.count(False) == 1


class _Chosen:
    """Stands for pytest's configuration, of which the choice of a lane is asked for."""

    def __init__(self, lane: str) -> None:
        self._lane = lane

    def getoption(self, name: str) -> str:
        return {"--lane": self._lane}[name]


@pytest.mark.timeout(120)
def test_what_is_named_on_the_command_line_runs_once():
    """`make lanes ARGS=FILE` runs the file in its lane; the other lanes find nothing, which is no failure."""
    command = [
        sys.executable,
        "-X",
        "dev",
        "-m",
        "tests.lanes",
        "tests/meta/test_public_names.py",
        "-k",
        "no_such_test",
    ]
    none = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert none.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, none.stdout
    some = subprocess.run(command[:-2], cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert some.returncode == 0, some.stdout
    assert some.stdout.count(" passed") == 1
    assert some.stdout.count(" deselected in ") == len(lanes.LANES) - 1


def test_a_failure_is_told_and_cuts_nobody_short(capfdbinary):
    """Each command runs to its end and all it wrote is shown; the first failure is the exit code of all."""
    commands = {
        "first": [sys.executable, "-c", "print('first')"],
        "fails": [sys.executable, "-c", "print('1 failed'); raise SystemExit(3)"],
        "last": [sys.executable, "-c", "import sys; sys.stderr.write('7 passed')"],
    }
    assert lanes.run_side_by_side(commands) == {"first": 0, "fails": 3, "last": 0}
    said = capfdbinary.readouterr().out
    assert said.index(b"first") < said.index(b"1 failed") < said.index(b"7 passed")


def test_whoever_ends_the_lanes_ends_them_all():
    """At SIGTERM every lane is ended, and all that it wrote is shown."""
    sleeper = "import time; print('up', flush=True); time.sleep(50)"
    program = (
        "import sys; from tests.lanes import run_side_by_side\n"
        f"command = [sys.executable, '-c', {sleeper!r}]\n"
        "print(run_side_by_side({'one': command, 'two': command}))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "up\n"
        wait_until(lambda: len(children_of(runner.pid)) == 2, "both run")
        runner.terminate()
        said = runner.stdout.read()
    assert said.endswith("{'one': -15, 'two': -15}\n"), said


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((0, 5), 0), ((5, 5), 5), ((0, 1), 1), ((5, 2), 2), ((1, 0, 3), 1), ((0, -9), -9)]
)
def test_the_exit_code_of_all(codes, code):
    """All is well when no lane failed and one had tests; a lane that was killed has failed."""
    assert lanes.verdict(codes) == code
