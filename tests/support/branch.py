"""The bank of `examples/bank` with everything around it: two databases, two web servers, one dispatcher."""

from __future__ import annotations

import os
import random
import runpy
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text

from tests.support.chaos import Victim
from tests.support.databases import Server
from tests.support.lines import whole_lines
from tests.support.probe import wait_until
from tests.support.processes import HOST, ROOT, Process, Processes, children_of, free_port, program
from tests.support.transfers import Transfer

EXAMPLE = ROOT / "examples" / "bank"
_BANK = runpy.run_path(str(EXAMPLE / "open_bank.py"))
ACCOUNTS: dict[int, int] = dict.fromkeys(_BANK["ACCOUNTS"], _BANK["CENTS"])  #: what is on them at first
_START_SECONDS = 90
#: Waits are short, and a call may take long, because the machine may be busy.
_DISPATCHER = {"AP4R_TIMEOUT_SECONDS": "15", "AP4R_BACKOFF_FIRST_SECONDS": "1", "AP4R_BACKOFF_CAP_SECONDS": "3"}
_TRANSFERS = "SELECT number, payer, payee, cents FROM "


class Branch:
    """What a test of the bank stands on. `open` makes the tables, `start` starts what is not a database."""

    def __init__(
        self,
        processes: Processes,
        databases: tuple[str, str],
        *,
        ledger_application: str = "ledger:application",
        **environ: str,
    ) -> None:
        self.ports = {"orders": free_port(), "ledger": free_port()}
        self.running: dict[str, Process] = {}
        self._processes = processes
        self._applications = {"orders": "orders:application", "ledger": ledger_application}
        self._urls = dict(zip(("orders", "ledger"), databases, strict=True))
        self._environ = {f"{name.upper()}_DB": url for name, url in self._urls.items()}
        self._environ |= {f"{name.upper()}_URL": f"http://{HOST}:{port}" for name, port in self.ports.items()}
        self._environ |= environ
        self._engines: dict[str, Engine] = {
            name: create_engine(url, poolclass=NullPool) for name, url in self._urls.items()
        }

    def open(self) -> None:
        """Create the secret, the settings and the tables, as the README says."""
        ended = self._processes.run(sys.executable, str(EXAMPLE / "open_bank.py"), timeout_seconds=90, **self._environ)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def start(self) -> None:
        """Start both applications and the dispatcher, and wait until they can be asked."""
        for name in self.ports:
            self.start_web(name)
        self.start_dispatcher()

    def start_web(self, name: str) -> None:
        """Start gunicorn with one of the applications."""
        self.running[name] = process = self._processes.start(
            name,
            program("gunicorn"),
            f"--bind={HOST}:{self.ports[name]}",
            f"--pythonpath={EXAMPLE}",
            f"--access-logfile={self._access_log(name)}",
            "--access-logformat=%(m)s %(U)s %(s)s",
            "--no-control-socket",
            "--worker-class=gthread",
            "--workers=2",
            "--threads=4",
            self._applications[name],
            **self._environ,
        )
        self._processes.wait_until_listening(process, self.ports[name], _START_SECONDS)

    def start_dispatcher(self) -> None:
        """Start a dispatcher of both databases. To wait for it, wait for its deliveries."""
        self.running["dispatcher"] = self._processes.twistd_ap4r("--listen", "none", **self._environ, **_DISPATCHER)

    def victims(self, chance: random.Random, *servers: Server) -> list[Victim]:
        """Return everything that can be killed, the databases included where they are servers."""
        webs = [
            victim
            for name in self.ports
            for victim in (
                Victim(f"{name} worker", lambda name=name: self._kill_worker(name, chance), lambda: None),
                Victim(
                    f"{name} server",
                    lambda name=name: self.running[name].kill(),
                    lambda name=name: self.start_web(name),
                ),
            )
        ]
        dispatcher = Victim("dispatcher", lambda: self.running["dispatcher"].kill(), self.start_dispatcher)
        databases = [
            Victim(one.kind, lambda one=one: one.stop(signal.SIGKILL), lambda one=one: _start_again(one))
            for one in servers
        ]
        return [*webs, dispatcher, *databases]

    def _kill_worker(self, name: str, chance: random.Random) -> None:
        workers = children_of(self.running[name].pid)
        if workers:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(chance.choice(sorted(workers)), signal.SIGKILL)

    def waiting(self) -> int:
        """Count the messages that are neither delivered nor dead, in both databases."""
        return sum(self._count(f"ap4r_{state}") for state in ("ready", "scheduled", "leased"))

    def dead(self) -> int:
        """Count the dead letters of both databases."""
        return self._count("ap4r_dead")

    def _count(self, table: str) -> int:
        return sum(int(self._rows(name, f"SELECT count(*) FROM {table}")[0][0]) for name in self._engines)

    def orders(self) -> list[Transfer]:
        """Read what was ordered."""
        return [Transfer(*row) for row in self._rows("orders", _TRANSFERS + "orders")]

    def confirmations(self) -> Counter[int]:
        """Count the orders that were confirmed never, once, twice, …"""
        return Counter(int(times) for (times,) in self._rows("orders", "SELECT confirmed FROM orders"))

    def bookings(self) -> list[Transfer]:
        """Read what was booked."""
        return [Transfer(*row) for row in self._rows("ledger", _TRANSFERS + "bookings")]

    def accounts(self) -> dict[int, int]:
        """Read what is on the accounts."""
        return dict(self._rows("ledger", "SELECT number, cents FROM accounts"))

    def answers(self, name: str, path: str) -> Counter[str]:
        """Count by status what an application has answered at a path, as far as it lived to write it down."""
        lines = [line.decode() for line in whole_lines(self._access_log(name))]
        return Counter(line.rpartition(" ")[2] for line in lines if f" {path} " in line)

    def wait_until_drained(self, unchanged_seconds: float = 150.0) -> None:
        """Wait until no message waits in either database.

        :raises AssertionError: when nothing has changed for so long.
        """
        left = self.waiting()
        while left:
            before = left

            def fewer(before: int = before) -> bool:
                nonlocal left
                left = self.waiting()
                return left != before

            wait_until(
                fewer,
                f"another of {before} messages is delivered",
                timeout_seconds=unchanged_seconds,
                every_seconds=0.5,
                otherwise=self._processes.outputs,
            )

    def _rows(self, name: str, statement: str) -> list[tuple[object, ...]]:
        with self._engines[name].connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def _access_log(self, name: str) -> Path:
        return self._processes.folder / f"{name}.access"


def _start_again(server: Server) -> None:
    # What was killed may have left something that lives a moment longer and holds the data.
    for attempt in range(5):
        server.launch()
        try:
            server.wait(_START_SECONDS)
        except pytest.fail.Exception:
            server.stop(signal.SIGKILL)
            if attempt == 4:
                raise
        else:
            return
