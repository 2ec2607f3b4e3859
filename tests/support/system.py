"""One store with everything around it: a dispatcher, a web server, a target, and the commands that look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ap4r
from tests.support import storefile
from tests.support.client import ask
from tests.support.ledger import LedgerFile
from tests.support.probe import wait_until
from tests.support.processes import Process, Processes, free_port
from tests.support.target import ScriptedTarget

#: Short waits, so that what takes hours in life takes seconds here.
QUICK = {"AP4R_TIMEOUT_SECONDS": "2", "AP4R_BACKOFF_FIRST_SECONDS": "1", "AP4R_BACKOFF_CAP_SECONDS": "1"}


class System:
    """The processes and files of one test. Each is started on request."""

    def __init__(self, processes: Processes, target: ScriptedTarget, store: Path | None = None) -> None:
        self.processes = processes
        self.target = target
        self.store = store or processes.folder / "ap4r.db"
        self.ledger = processes.folder / "ledger"
        self.web_port = free_port()
        self._door: str | None = None

    @property
    def url(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self.store}"

    @property
    def door(self) -> str:
        """The URL of the target's main door."""
        if self._door is None:
            self._door = self.target.door()
        return self._door

    def dispatcher(
        self,
        *arguments: str,
        name: str = "dispatcher",
        app_url: str | None = None,
        wait: bool = True,
        counted: Path | None = None,
        clock: Path | None = None,
        **environ: str,
    ) -> Process:
        """Start a dispatcher on the store, and wait until it is known there."""
        known = set(storefile.owners(self.store)) if wait else set()
        process = self.processes.twistd_ap4r(
            "--store",
            self.url,
            "--app-url",
            app_url or self.door,
            "--listen",
            "none",
            *arguments,
            name=name,
            counted=counted,
            clock=clock,
            **environ,
        )
        if wait:
            wait_until(
                lambda: not process.running or set(storefile.owners(self.store)) - known,
                f"{name} has registered",
                timeout_seconds=20,
                otherwise=lambda: process.tail,
            )
            assert process.running, f"{name} ended with {process.wait()}{process.tail}"
        return process

    def web(self, *arguments: str, **environ: str) -> Process:
        """Start gunicorn with two processes of four threads, and the application of the fault tests in it."""
        process = self.processes.gunicorn(
            "tests.support.application:make_application()",
            self.web_port,
            *(arguments or ("--workers=2", "--worker-class=gthread", "--threads=4")),
            AP4R_STORE=self.url,
            LEDGER_FOLDER=str(self.ledger),
            **environ,
        )
        # The master listens before its workers have read the application.
        wait_until(
            lambda: not process.running or ask(self.web_port, "/alive", timeout_seconds=5).status == 204,
            "the web process answers",
            timeout_seconds=20,
            otherwise=lambda: process.tail,
        )
        assert process.running, f"the web process ended with {process.wait()}{process.tail}"
        return process

    def ledger_file(self, name: str) -> LedgerFile:
        """Return a part of the ledger to write to."""
        return LedgerFile(self.ledger / f"{name}.jsonl")

    def send(self, *targets: Any, **options: Any) -> list[str]:
        """Put messages from this process in one transaction, and return their ids."""
        with ap4r.session(self.url) as handle:
            return [
                handle.async_to(target, {"number": str(number)}, **options) for number, target in enumerate(targets)
            ]

    def status(self) -> dict[str, Any]:
        """Return the output of `ap4r status --json`, whatever its exit code."""
        ended = self.processes.ap4r("status", "--json", AP4R_STORE=self.url)
        assert ended.stdout, f"ap4r status said nothing, exit code {ended.returncode}: {ended.stderr}"
        return dict(json.loads(ended.stdout))

    def dead(self) -> dict[str, dict[str, Any]]:
        """Return the output of `ap4r dead --json`, by message id."""
        ended = self.processes.ap4r("dead", "--json", "--limit", "1000", AP4R_STORE=self.url)
        assert ended.returncode == 0, f"ap4r dead: exit code {ended.returncode}: {ended.stderr}"
        return {letter["message"]["id"]: letter for letter in json.loads(ended.stdout)}

    def wait_until_empty(self, timeout_seconds: float = 30.0) -> None:
        """Wait until no message is ready, scheduled or leased; dead letters may remain.

        :raises AssertionError: when some are left.
        """
        wait_until(
            lambda: storefile.count(self.store, "ready", "scheduled", "leased") == 0,
            "every message is settled",
            timeout_seconds=timeout_seconds,
            otherwise=lambda: f"left: { {state: storefile.count(self.store, state) for state in storefile.STATES} }",
        )
