"""A backup that was taken while a dispatcher works, put back: all it holds is delivered, some of it again."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.support.databases import KINDS, PASSWORD, USER, require, shared_server
from tests.support.factories import messages, put
from tests.support.probe import wait_until
from tests.support.target import ScriptedTarget

COUNT = 400
CONCURRENCY = 4
#: So many calls are answered only after the backup, twice as many as can be in flight: however fast the machine is,
#: some messages are still in the store when it is backed up.
HELD = 2 * CONCURRENCY


@pytest.fixture
def target():
    """A target in threads of this process."""
    with ScriptedTarget() as scripted:
        yield scripted


class Vacuumed:
    """SQLite's VACUUM INTO."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ap4r.db"
        self.url = f"sqlite:///{self._path}"
        self._copy = folder / "copy.db"

    def back_up(self) -> None:
        with sqlite3.connect(self._path) as connection:
            connection.execute("VACUUM INTO ?", (str(self._copy),))
        connection.close()

    def restore(self) -> None:
        for ending in ("", "-wal", "-shm"):
            Path(f"{self._path}{ending}").unlink(missing_ok=True)
        shutil.copyfile(self._copy, self._path)


class Copied(Vacuumed):
    """The command .backup of sqlite3."""

    def back_up(self) -> None:
        program = require(shutil.which("sqlite3"), "sqlite3")
        subprocess.run([program, self._path, f".backup '{self._copy}'"], check=True)


class Dumped:
    """mariadb-dump --single-transaction, and pg_dump."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._server, self._kind = shared_server(kind), kind
        self.url = self._server.make("own")
        self._copy = folder / "copy"

    def back_up(self) -> None:
        port = str(self._server.port)
        if self._kind == "mariadb":
            program = require(shutil.which("mariadb-dump"), "mariadb-client")
            command = [program, "--no-defaults", "--single-transaction", "-h127.0.0.1", "-P", port, "-u", USER, "own"]
        else:
            program = require(shutil.which("pg_dump"), "postgresql-client")
            command = [program, "-Fc", "-h", "127.0.0.1", "-p", port, "-U", USER, "own"]
        with self._copy.open("wb") as copy:
            subprocess.run(command, stdout=copy, check=True, env=self._environ())

    def restore(self) -> None:
        # Over the tables that are there, as a person would who reads the recipe.
        port = str(self._server.port)
        if self._kind == "mariadb":
            program = require(shutil.which("mariadb"), "mariadb-client")
            command = [program, "--no-defaults", "-h127.0.0.1", "-P", port, "-u", USER, "own"]
        else:
            program = require(shutil.which("pg_restore"), "postgresql-client")
            login = ["-h", "127.0.0.1", "-p", port, "-U", USER]
            command = [program, *login, "--clean", "--if-exists", "--exit-on-error", "-1", "-d", "own"]
        with self._copy.open("rb") as copy:
            subprocess.run(command, stdin=copy, check=True, env=self._environ())

    def _environ(self) -> dict[str, str]:
        return {**os.environ, "MYSQL_PWD": PASSWORD, "PGPASSWORD": PASSWORD}


def means(how: str, folder: Path) -> Vacuumed | Dumped:
    """Return a way to back up and restore."""
    if how in KINDS:
        return Dumped(how, folder)
    return {"vacuum": Vacuumed, "backup": Copied}[how](folder)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["backup", "mariadb", "postgresql", "vacuum"])
def test_backed_up_in_use_and_restored(how, tmp_path, opened, processes, target):
    """Nothing that was stored before the backup is lost by it; what was delivered since is delivered once more."""
    backup = means(how, tmp_path)
    store = opened(backup.url)
    before = (*messages(COUNT - HELD), *messages(HELD, url="/work?answer=hold:backed-up,200"))
    after = messages(5)
    later = messages(3, delay_seconds=3_600.0)
    put(store, *before, *later, now=None)
    to = ("--store", backup.url, "--app-url", target.door())
    arguments = (*to, "--listen", "none", "--concurrency", str(CONCURRENCY))
    first = processes.twistd_ap4r(*arguments, name="first")
    target.wait_for(20)
    backup.back_up()
    called = set(target.ids())
    target.open("backed-up")
    put(store, *after, now=None)
    wait_until(
        lambda: {one.id for one in (*before, *after)} <= set(target.ids()), "all are delivered", timeout_seconds=60
    )
    first.send(signal.SIGTERM)
    assert first.wait(30) == 0
    store.close()
    assert len(target.ids()) == len(set(target.ids())) == COUNT + 5

    backup.restore()
    kept = {one.id for one in before} - called
    status = opened(backup.url).status()
    figures = status.queues[0]
    assert figures.scheduled == 3
    assert figures.ready + figures.leased >= len(kept) > 0
    # The backup holds the first dispatcher as it was, with what it had in hand; that is taken from it.
    second = processes.twistd_ap4r(*arguments, name="second")
    second.wait_for_output("works on")
    again = figures.ready + figures.leased
    target.wait_for(COUNT + 5 + again, timeout_seconds=60)
    wait_until(lambda: opened(backup.url).status().queues[0].scheduled == 3, "what was delayed still is")
    second.send(signal.SIGTERM)
    assert second.wait(30) == 0
    repeated = target.ids()[COUNT + 5 :]
    assert kept <= set(repeated) <= {one.id for one in before}
    assert len(repeated) == len(set(repeated))
