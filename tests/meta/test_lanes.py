"""`make test` runs all tests, in lanes and stages: each test in one of them, and none is lost on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import lanes
from tests.meta.tree import ROOT
from tests.support.probe import wait_until


def test_what_a_lane_names_is_there():
    """Each place that a lane names exists, is named once, and holds tests; no two lanes have one name."""
    named = [place for places in lanes.LANES.values() for place in places]
    assert len(set(named)) == len(named)
    for place in named:
        path = ROOT / place
        assert path.is_file() or any(path.rglob("test_*.py")), place
    assert len(lanes.LANES) == sum(len(stage) for stage in lanes.STAGES)


def test_a_file_is_in_the_lane_of_the_nearest_place():
    """A file is in the lane that names it or its folder; what nobody names is in the first one."""
    assert lanes.lane_of(ROOT / "tests/stores/test_outages.py") == "stores"
    assert lanes.lane_of(ROOT / "tests/stores/test_tls.py") == "contract+faults"
    assert lanes.lane_of(ROOT / "tests/faults/deep/test_new.py") == "contract+faults"
    assert lanes.lane_of(ROOT / "tests/new/test_new.py") == lanes.FIRST
    assert lanes.lane_of(Path("/elsewhere/test_new.py")) == lanes.FIRST


def test_deadlines_are_held_alone():
    """The folder whose tests hold callers and clusters to deadlines has a stage without a neighbour."""
    [stage] = [stage for stage in lanes.STAGES if lanes.lane_of(ROOT / "tests/stores/test_connections.py") in stage]
    assert len(stage) == 1


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


def _run_lanes(*arguments: str) -> tuple[int, str]:
    """Run `make test ARGS=…`, without the plugins that have no part in it: each lane would load them all."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.lanes", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=50,
    )
    return done.returncode, done.stdout


def test_what_is_named_on_the_command_line_runs_once():
    """`make test ARGS=FILE` runs the file in its lane; the other lanes find nothing, which is no failure."""
    options = ["-p", "pytest_timeout", "-p", "no:cacheprovider", "--durations=1", "--durations-min=0"]
    code, said = _run_lanes(*options, "tests/meta/test_public_names.py")
    assert code == 0, said
    assert said.count(" passed") == 1
    assert said.count(" deselected in ") == len(lanes.LANES) - 1
    assert said.count("slowest 1 durations") == 1


@pytest.fixture
def elsewhere(tmp_path):
    """Give the arguments for a file outside of the project, with one test that passes and one that fails."""
    path = tmp_path / "test_elsewhere.py"
    path.write_text("def test_good():\n    pass\n\ndef test_bad():\n    assert False\n")
    return f"--rootdir={tmp_path}", str(path)


def test_only_what_failed_runs_again(elsewhere):
    """`--lf` runs what failed, in the lane that it failed in; a lane in which nothing has failed runs nothing."""
    assert _run_lanes("--lf", *elsewhere)[0] == pytest.ExitCode.NO_TESTS_COLLECTED
    code, said = _run_lanes(*elsewhere)
    assert (code, said.count("1 failed, 1 passed")) == (pytest.ExitCode.TESTS_FAILED, 1), said
    code, said = _run_lanes("--lf", *elsewhere)
    assert (code, said.count("1 failed, 1 deselected")) == (pytest.ExitCode.TESTS_FAILED, 1), said


@pytest.mark.parametrize("option", ["-xv", "--maxfail=1"])
def test_told_to_stop_at_a_failure_no_stage_begins_after_it(elsewhere, option):
    """With `-x` the stages after a failure are left out, and the exit code tells of it."""
    code, said = _run_lanes(option, *elsewhere)
    assert (code, said.count("1 failed")) == (pytest.ExitCode.INTERRUPTED, 1), said
    assert said.count("test session starts") == len(lanes.STAGES[0])


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_failure_is_told_and_cuts_nobody_short(capfdbinary):
    """Each command runs to its end, in its stage, and all it wrote is shown as a whole; a failure ends nobody else."""
    stages = [
        {"first": _python("print('first')"), "fails": _python("print('1 failed'); raise SystemExit(1)")},
        {"is killed": _python("import os; os.kill(os.getpid(), 9)")},
        {"empty": _python("raise SystemExit(5)"), "last": _python("import sys; sys.stderr.write('7 passed')")},
    ]
    codes = {"first": 0, "fails": 1, "is killed": -9, "empty": 5, "last": 0}
    assert lanes.run_in_stages(stages) == codes
    said = capfdbinary.readouterr().out
    assert said.index(b"first\n") < said.index(b"1 failed") < said.index(b"7 passed")
    assert said.endswith(b"first 0, fails 1, is killed -9, empty 5, last 0\n")


@pytest.mark.parametrize("code", [pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR])
def test_no_stage_begins_after_an_interruption(code):
    """Who interrupts one lane, or names what pytest refuses, gets the end of its stage and no other one."""
    stages = [{"one": _python(f"raise SystemExit({code:d})"), "two": _python("")}, {"three": _python("")}]
    assert lanes.run_in_stages(stages) == {"one": code, "two": 0, "three": pytest.ExitCode.INTERRUPTED}


@pytest.mark.parametrize(("number", "send"), [(signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg)])
def test_whoever_ends_the_lanes_ends_them_all(tmp_path, number, send):
    """At SIGTERM, and at the Ctrl-C that a terminal sends to each, all that run end, and no stage begins after it."""
    sleeper = (
        "import os, pathlib, signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        f"pathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch(); time.sleep(50)"
    )
    program = (
        "import sys; from tests.lanes import run_in_stages\n"
        f"command = {_python(sleeper)!r}\n"
        "print(run_in_stages([{'one': command, 'two': command}, {'three': command}]))"
    )
    with subprocess.Popen(
        _python(program), cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as runner:
        assert runner.stdout is not None
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "both run")
        send(runner.pid, number)
        said = runner.stdout.read()
    assert said.endswith(f"{{'one': {-number:d}, 'two': {-number:d}, 'three': 2}}\n"), said


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((0, 5), 0), ((5, 5), 5), ((0, 1), 1), ((5, 2), 2), ((1, 0, 3), 1), ((0, -9), -9)]
)
def test_the_exit_code_of_all(codes, code):
    """All is well when no lane failed and one had tests; a lane that was killed has failed."""
    assert lanes.verdict(codes) == code
