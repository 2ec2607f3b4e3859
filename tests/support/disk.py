"""A small disk of its own that a test can fill up or make read-only. It needs root; without it the test is skipped."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class Disk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave not one byte free."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while True:
                filler.write(b"\0" * 4_096)
        free = os.statvfs(self.folder)
        assert free.f_bavail == 0, f"{free.f_bavail} blocks are still free"

    def free(self) -> None:
        """Free the space that `fill` used."""
        self._filler.unlink(missing_ok=True)

    def make_read_only(self) -> None:
        """Refuse writes from now on. No process may have a file open for writing."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def make_writable(self) -> None:
        """Accept writes again."""
        subprocess.run(["mount", "-o", "remount,rw", str(self.folder)], check=True)


@contextmanager
def mounted(folder: Path, size_mib: int) -> Iterator[Disk]:
    """Mount a disk of this size on a folder; skips the test, with the reason, where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "none", str(folder)]
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {tried.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        # Lazily: processes that a failed test has left may still have files open on it.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
