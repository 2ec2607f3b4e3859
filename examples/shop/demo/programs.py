"""The processes of the demo: started and ended here."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen


class DidNotStart(Exception):
    """A program ended or did not answer; the text has the end of its log."""


class Program:
    """One process that can be started and ended repeatedly. Its output is appended to `log`."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path) -> None:
        self.command = command
        self.log = log
        self._folder = folder
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Return whether it runs now."""
        return self._process is not None and self._process.poll() is None

    def start(self, answers_at: str, within_seconds: float = 15.0) -> None:
        """Start it and wait until a GET of `answers_at` is answered, with whatever status.

        :raises DidNotStart: when it ends first, or does not answer in time.
        """
        with self.log.open("ab") as log:
            # In a separate session, so that Ctrl-C in the terminal reaches only the demo, which ends it in order.
            self._process = subprocess.Popen(
                self.command, cwd=self._folder, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + within_seconds
        while not _answers(answers_at):
            if not self.running or time.monotonic() > deadline:
                raise DidNotStart(f"{' '.join(self.command)}\n{self.last_lines()}")
            time.sleep(0.05)

    def stop(self, within_seconds: float = 10.0) -> int | None:
        """End it, by force after `within_seconds`; return its exit code, None if it did not run."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(within_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()

    def last_lines(self, count: int = 30) -> str:
        """Return the end of what it printed."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def free_port() -> int:
    """Return a port of the loopback address without a listener.

    It is below the range of outgoing connections, so that the warehouse can release it for a while and come
    back to it.
    """
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    raise DidNotStart("no port from 20,000 to 32,000 is free")


def clean_environ() -> dict[str, str]:
    """Return our environment without settings of ap4r, which are for the user's own dispatcher and not for the demo."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AP4R_")}


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):
            return True
    except OSError as error:
        # An HTTPError is a response too.
        return hasattr(error, "status")
    except HTTPException:
        return False
