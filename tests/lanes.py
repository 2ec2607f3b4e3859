"""Run all tests in stages, each of lanes: `python -m tests.lanes`, with pytest's arguments.

A lane is a process of pytest. Most tests with real processes wait: for leases and deadlines, for servers that start.
While those of one lane wait, those of another work; but a stage begins when the one before it has ended, so that what
is held to deadlines has the processors to itself. As a plugin of pytest (`-p tests.lanes --lane=NAME`) this keeps one
lane's test files and leaves the rest.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Of the tests of stores those that are held to no deadline.
_PATIENT = ("backup", "lanes", "limits", "migrate", "plans", "sessions", "sizes", "tls")
#: Of each stage the lanes, with their files and folders; all that is named nowhere is in the very first. As many lanes
#: side by side as a small machine has processors, so parted that they take about as long.
STAGES: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "rest": ("tests/faults/test_drain.py",),
        "contract+faults": ("tests/contract", "tests/faults", *(f"tests/stores/test_{name}.py" for name in _PATIENT)),
    },
    {"stores": ("tests/stores",)},
)
LANES = {lane: places for stage in STAGES for lane, places in stage.items()}
FIRST = next(iter(LANES))
#: After these no stage begins: whoever interrupts a lane means all of them, and where pytest refuses its arguments, or
#: cannot read a test file, one process would run nothing either.
_ENDS_ALL = {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR}


def lane_of(path: Path) -> str:
    """Tell in which lane a test file is: that of the nearest folder which a lane names."""
    lanes = {ROOT / place: lane for lane, places in LANES.items() for place in places}
    return next((lanes[place] for place in (path, *path.parents) if place in lanes), FIRST)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a lane be chosen."""
    parser.addoption("--lane", choices=list(LANES), help="keep to the test files of one lane")


def pytest_configure(config: pytest.Config) -> None:
    """Let a lane in which nothing has failed run nothing with `--lf`, for something may have failed in another."""
    if config.getoption("lf", False):
        config.option.last_failed_no_failures = "none"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the files of other lanes unread."""
    is_test = collection_path.name.startswith("test_") and collection_path.is_file()
    return True if is_test and lane_of(collection_path) != config.getoption("--lane") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what was named on the command line, and is another lane's, to that."""
    others = [item for item in items if lane_of(item.path) != config.getoption("--lane")]
    if others:
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take it for an interruption when the lane had as many failures as it was told to stop at (`-x`, `--maxfail`)."""
    if session.shouldfail:
        session.exitstatus = pytest.ExitCode.INTERRUPTED


def run_in_stages(stages: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, int]:
    """Run commands, those of a stage side by side, each to its end whatever becomes of the others.

    What the first of a stage writes is seen at once; what the others write is shown after it, each as a whole.

    :returns: the exit code of each; where one was interrupted before another began, also the other's says so.
    """
    codes = dict.fromkeys((name for stage in stages for name in stage), int(pytest.ExitCode.INTERRUPTED))
    began_at = time.monotonic()
    with _ended_with_us() as (running, signals):
        for stage in stages:
            _say(f"{' and '.join(stage)}, {time.monotonic() - began_at:.0f} s after the beginning:\n")
            ended = _run_side_by_side(stage, running)
            codes |= ended
            if signals or _ENDS_ALL.intersection(ended.values()):
                break
    told = ", ".join(f"{name} {code}" for name, code in codes.items())
    _say(f"\nall ended {time.monotonic() - began_at:.0f} s after the beginning, with the exit codes: {told}\n")
    return codes


def _run_side_by_side(
    commands: Mapping[str, Sequence[str]], running: dict[str, subprocess.Popen[bytes]]
) -> dict[str, int]:
    """Run commands at the same time, and give their exit codes."""
    codes = {}
    with ExitStack() as stack:
        written = {name: stack.enter_context(tempfile.TemporaryFile()) for name in list(commands)[1:]}
        for name, command in commands.items():
            running[name] = _start(command, written.get(name))
        for name in commands:
            codes[name] = running[name].wait()
            if name in written:
                _say(f"\n{name}, which ran beside that:\n")
                written[name].seek(0)
                sys.stdout.buffer.write(written[name].read())
                sys.stdout.buffer.flush()
    return codes


def _start(command: Sequence[str], written: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start a command; one that writes into a file can ask nobody anything either."""
    if written is None:
        return subprocess.Popen(command)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT)


@contextmanager
def _ended_with_us() -> Iterator[tuple[dict[str, subprocess.Popen[bytes]], list[int]]]:
    """Let whoever ends us end those that run too, and then see what they have to say.

    A terminal sends Ctrl-C to all of us: each pytest ends by itself then, with what it has started.

    :returns: a place for the processes, and the signals that have come.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    signals: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        for process in running.values():
            process.send_signal(number)

    def wait_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end), signal.SIGINT: signal.signal(signal.SIGINT, wait_on)}
    try:
        yield running, signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def verdict(codes: Sequence[int]) -> int:
    """Give the exit code of several runs of pytest: of the first that failed, else whether there was any test."""
    empty, ok = int(pytest.ExitCode.NO_TESTS_COLLECTED), int(pytest.ExitCode.OK)
    failed = [code for code in codes if code not in (ok, empty)]
    return failed[0] if failed else ok if ok in codes else empty


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Run every lane with these arguments of pytest's."""
    pytest_of_all = [
        sys.executable,
        *(["-X", "dev"] if sys.flags.dev_mode else []),
        "-m",
        "pytest",
        "-p",
        "tests.lanes",
    ]

    def command(lane: str) -> list[str]:
        # Each lane remembers by itself what has failed (`--lf`): of what it does not run it would forget it for all.
        cache = ["-o", f"cache_dir=.pytest_cache/{lane}"] if "no:cacheprovider" not in arguments else []
        return [*pytest_of_all, f"--lane={lane}", *cache, *arguments]

    codes = run_in_stages([{lane: command(lane) for lane in stage} for stage in STAGES])
    return verdict(list(codes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
