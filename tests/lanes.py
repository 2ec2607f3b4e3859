"""Run all tests in lanes, several processes of pytest side by side: `python -m tests.lanes`, with pytest's arguments.

Most tests with real processes wait: for leases and deadlines, for servers that start. While those of one lane wait,
others work. As a plugin of pytest (`-p tests.lanes --lane=NAME`) this keeps one lane's test files and leaves the rest.
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
#: The files and folders of each lane; all that is named nowhere is in the first. As many as a small machine has
#: processors, so that what is timed has one, and so parted that all take about as long.
LANES: dict[str, tuple[str, ...]] = {
    "rest": (),
    "servers": ("tests/stores", "tests/integration"),
}
FIRST = next(iter(LANES))


def lane_of(path: Path) -> str:
    """Tell in which lane a test file is: that of the nearest folder which a lane names."""
    lanes = {ROOT / place: lane for lane, places in LANES.items() for place in places}
    return next((lanes[place] for place in (path, *path.parents) if place in lanes), FIRST)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a lane be chosen."""
    parser.addoption("--lane", choices=list(LANES), help="keep to the test files of one lane")


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


def run_side_by_side(commands: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Run commands at the same time, each to its end whatever becomes of the others; give their exit codes.

    What the first writes is seen at once; what the others write is shown after it, each as a whole.
    """
    began_at = time.monotonic()
    with ExitStack() as stack:
        written = {name: stack.enter_context(tempfile.TemporaryFile()) for name in list(commands)[1:]}
        started: dict[str, subprocess.Popen[bytes]] = {}
        stack.enter_context(_ended_with_us(started))
        for name, command in commands.items():
            started[name] = _start(command, written.get(name))
        codes = {}
        for name, process in started.items():
            codes[name] = process.wait()
            if name in written:
                _say(f"\nlane {name}, shown {time.monotonic() - began_at:.0f} s after the beginning:\n")
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
def _ended_with_us(started: Mapping[str, subprocess.Popen[bytes]]) -> Iterator[None]:
    """Let whoever ends us end the others too, and then see what they have to say.

    A terminal sends Ctrl-C to all of us: each pytest ends by itself then, with what it has started.
    """

    def end(number: int, frame: FrameType | None) -> None:
        for process in started.values():
            process.send_signal(number)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end), signal.SIGINT: signal.signal(signal.SIGINT, _wait_on)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_on(number: int, frame: FrameType | None) -> None:
    """Go on waiting."""


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
    python = [sys.executable, *(["-X", "dev"] if sys.flags.dev_mode else [])]
    pytest_of = {lane: [*python, "-m", "pytest", "-p", "tests.lanes", f"--lane={lane}", *arguments] for lane in LANES}
    codes = run_side_by_side(pytest_of)
    return verdict(list(codes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
