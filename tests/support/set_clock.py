"""Run a program of this Python whose wall clock is set by a file, as by a person or by NTP; no other clock is touched.

`python -m tests.support.set_clock FILE PROGRAM ARGUMENT…`. The file has the seconds by which the clock is wrong.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path


def set_clock(file: Path, seconds: float) -> None:
    """Set the wall clock of the processes that go by this file."""
    beside = file.with_suffix(".new")
    beside.write_text(repr(seconds))
    os.replace(beside, file)


def main() -> None:
    """Replace the clock, and be the program."""
    file, true_time_ns = Path(sys.argv[1]), time.time_ns

    def time_ns() -> int:
        return true_time_ns() + int(float(file.read_text()) * 1e9)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
