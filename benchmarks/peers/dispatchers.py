"""What the rows of ours have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import ap4r

_RUN = """
import os, ap4r, twisted.plugins as plugins
from twisted.scripts.twistd import run
plugins.__path__.append(os.path.join(os.path.dirname(ap4r.__file__), "twisted_plugins"))
run()
"""


def command(path: str) -> list[str]:
    """Give the command of a dispatcher of that file."""
    return [sys.executable, "-c", _RUN, "-n", "ap4r", "--store", f"sqlite:///{path}", "--listen", "none"]


def enqueue(path: str, calls: Iterable[tuple[str, int]]) -> None:
    """Put messages one after the other, each in a commit of its own."""
    with ap4r.session(f"sqlite:///{path}") as handle:
        for url, number in calls:
            handle.async_to(url, {"id": f"{number:012d}"})
            handle.commit()
