"""For how long the processor was not there for those who wanted it: the kernel counts it (PSI), nothing is guessed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_PRESSURE = Path("/proc/pressure/cpu")
_OWN = Path("/proc/self/schedstat")


def starved_seconds() -> float:
    """Return for how many seconds, since the machine began, something that could have run had to wait.

    Where the kernel does not count that: for how long this process has waited.
    """
    with suppress(OSError, ValueError, IndexError):
        some = _PRESSURE.read_text().split("\n")[0]
        return int(some.rpartition("total=")[2]) / 1e6
    with suppress(OSError, ValueError, IndexError):
        return int(_OWN.read_text().split()[1]) / 1e9
    return 0.0
