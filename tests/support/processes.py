"""Start real processes, hurt them by signal, and end every one of them.

Each process leads a group of its own, so that what it forks is ended with it; nothing else is ever signalled.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.support.probe import wait_until

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
#: Below the range from which Linux takes the ports of outgoing connections, so that none is taken meanwhile.
_PORTS = range(20_000, 32_000)
_PORTS_A_PROCESS = 500
# Not the chance that pytest-randomly seeds, with the same number for each test: all would be given the same ports.
_chance = random.SystemRandom()
_TAIL_CHARACTERS = 6_000


def free_port() -> int:
    """Find a port of the loopback address without a listener, which no other search finds in the meantime."""
    for port in itertools.islice(_own_ports(), _PORTS_A_PROCESS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise AssertionError("no free port found")


@functools.cache
def _own_ports() -> Iterator[int]:
    """Yield the ports of a share that this process owns for its lifetime; each comes once before any is repeated.

    A port that was found is free until its server listens, and again while a test has that server down: no process that
    looks for one meanwhile must find it, in this process or another. A process that holds a share's first port owns it.
    """
    for first in _PORTS[::_PORTS_A_PROCESS]:
        holder = socket.socket()
        try:
            holder.bind((HOST, first))
        except OSError:
            holder.close()
        else:
            atexit.register(holder.close)
            ports = range(first + 1, first + _PORTS_A_PROCESS)
            return itertools.cycle(_chance.sample(ports, len(ports)))
    raise AssertionError("every share of the ports is taken")


def listens(port: int) -> bool:
    """Return whether a server accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def children_of(pid: int) -> list[int]:
    """List the processes that a process has forked and that still live."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


class Process:
    """A process that a test started, and everything it forks."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str], output: Path
    ) -> None:
        self.name = name
        self.started_at = time.monotonic()
        self._output = output
        with output.open("ab") as out:
            self._popen = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._group_ended = False

    @property
    def pid(self) -> int:
        """The process id, which is the id of its group too."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the process itself lives."""
        return self._exit_code() is None

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def tail(self) -> str:
        """The end of its output, for a message that explains a failure."""
        return f"\n--- {self.name} (pid {self.pid}) ---\n{self.output[-_TAIL_CHARACTERS:]}"

    def kill(self) -> None:
        """End it and all it forked with SIGKILL, and wait for it."""
        self._signal_group(signal.SIGKILL)
        self._popen.wait(timeout=10)
        self._group_ended = True

    def kill_child(self) -> int | None:
        """End one of the processes it forked with SIGKILL; returns its id, or None when there is none."""
        children = children_of(self.pid) if self.running else []
        if not children:
            return None
        child = random.choice(children)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return child

    def pause(self) -> None:
        """Stop it and all it forked where they stand (SIGSTOP)."""
        self._signal_group(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue it and all that it forked (SIGCONT)."""
        self._signal_group(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, if it has not ended."""
        if self.running:
            os.kill(self.pid, number)

    def wait(self, timeout_seconds: float = 10.0) -> int:
        """Wait for its end and return its exit code.

        :raises AssertionError: when it still runs after `timeout_seconds`.
        """
        wait_until(
            lambda: not self.running,
            f"{self.name} has ended",
            timeout_seconds=timeout_seconds,
            otherwise=lambda: self.tail,
        )
        code = self._exit_code()
        assert code is not None
        return code

    def wait_for_output(self, text: str, timeout_seconds: float = 20.0) -> None:
        """Wait until it has written `text`.

        :raises AssertionError: when it has not after `timeout_seconds`, or ends without it.
        """
        wait_until(
            lambda: text in self.output or not self.running,
            f"{self.name} says {text!r}",
            timeout_seconds=timeout_seconds,
            otherwise=lambda: self.tail,
        )
        assert text in self.output, f"{self.name} ended without saying {text!r}{self.tail}"

    def _signal_group(self, number: signal.Signals) -> None:
        if not self._group_ended:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _exit_code(self) -> int | None:
        """Return the exit code as `subprocess` gives it, or None while the process lives.

        The process stays a zombie until `kill`, so that no other process gets its id: each session of a PostgreSQL
        server leads a group, and a signal to the group of a process that had been reaped has killed one.
        """
        if self._popen.returncode is None:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return None
            return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        return self._popen.returncode


class Processes:
    """The processes of one test, in one folder. As a context manager it ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Process] = []
        self._plugin_path = folder / "plugin-path"

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end_all()

    def start(self, name: str, *command: str, folder: Path | None = None, **environ: str) -> Process:
        """Start a command with this Python's programs, the source tree on its path, and `environ` added.

        What it writes is kept; processes of the same name share one file of output.
        """
        process = Process(name, command, folder or self.folder, self._environ(environ), self.folder / f"{name}.output")
        self.started.append(process)
        return process

    def twistd_ap4r(
        self,
        *arguments: str,
        name: str = "dispatcher",
        folder: Path | None = None,
        counted: Path | None = None,
        clock: Path | None = None,
        before: Sequence[str] = (),
        **environ: str,
    ) -> Process:
        """Start `twistd -n ap4r` with these arguments, as a user would from the source tree.

        :param counted: write every SQL statement of the process into this ledger.
        :param clock: set its wall clock by this file (`tests.support.set_clock`); nothing is counted then.
        :param before: a command that runs it, where neither is asked for.
        """
        _place_plugin(self._plugin_path)
        counting = tuple(before) if counted is None else (sys.executable, "-m", "tests.support.counted", str(counted))
        if clock is not None:
            counting = (sys.executable, "-m", "tests.support.set_clock", str(clock))
        command = (*counting, program("twistd"), "-n", "ap4r", *arguments)
        return self.start(name, *command, folder=folder, **environ)

    def gunicorn(self, application: str, port: int, *arguments: str, name: str = "web", **environ: str) -> Process:
        """Start gunicorn with a WSGI application and wait until it listens."""
        process = self.start(
            name,
            program("gunicorn"),
            f"--bind={HOST}:{port}",
            "--no-control-socket",
            "--graceful-timeout=2",
            *arguments,
            application,
            **environ,
        )
        self.wait_until_listening(process, port)
        return process

    def wait_until_listening(self, process: Process, port: int, timeout_seconds: float = 20.0) -> None:
        """Wait until a process accepts connections on a port.

        :raises AssertionError: when it does not, or ends before.
        """
        wait_until(
            lambda: listens(port) or not process.running,
            f"{process.name} listens on {port}",
            timeout_seconds=timeout_seconds,
            otherwise=lambda: process.tail,
        )
        assert process.running, f"{process.name} ended with {process.wait()}{process.tail}"

    def run(
        self, *command: str, timeout_seconds: float = 20.0, folder: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its exit code, standard output and error are in what is returned.

        :raises subprocess.TimeoutExpired: when it took too long; it was ended.
        """
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self._environ(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def ap4r(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command `ap4r` to its end."""
        return self.run(sys.executable, "-m", "ap4r.cli.__main__", *arguments, **environ)

    def end_all(self) -> None:
        """End every process and all they forked."""
        for process in self.started:
            process.go_on()
            process.kill()

    def outputs(self) -> str:
        """Return the end of all output, for a failure's report."""
        latest = {process.name: process for process in self.started}
        return "".join(process.tail for process in latest.values())

    def _environ(self, added: Mapping[str, str]) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AP4R_")}
        environ["PYTHONPATH"] = os.pathsep.join([str(self._plugin_path), str(ROOT)])
        environ["PYTHONUNBUFFERED"] = "1"
        return {**environ, **added}


def program(name: str) -> str:
    """Find a program that was installed with this Python."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


def _place_plugin(folder: Path) -> None:
    # twistd looks for plugins in folders called twisted/plugins only; a source tree has none.
    source = ROOT / "ap4r" / "twisted_plugins" / "ap4r_plugin.py"
    place = folder / "twisted" / "plugins" / source.name
    if not place.exists():
        place.parent.mkdir(parents=True)
        shutil.copyfile(source, place)
