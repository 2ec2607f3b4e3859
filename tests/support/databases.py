"""Real MariaDB and PostgreSQL servers of the tests' own: in a temporary folder, on a free port, with fsync on.

They run as the user of the tests, or for root as the users that Debian created for them: PostgreSQL refuses
to be root, and so does what copies a node of a cluster.
"""

from __future__ import annotations

import atexit
import functools
import glob
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.probe import wait_until
from tests.support.processes import children_of, free_port

USER, PASSWORD = "ap4r", "s3cret"
_START_SECONDS = 60
_SERVER_FOLDERS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


def require(program: str | None, package: str) -> str:
    """Return the program's path; without it skip on a laptop, saying so, and fail in CI."""
    if program is not None:
        return program
    says = f"{package} is not installed (apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(says)
    pytest.skip(says)


def without_tls(url: str) -> str:
    """Return the URL of a server whose connections are plain, for tests that make thousands and ask nothing of TLS.

    For each that might be encrypted PyMySQL reads all authorities of the system, which is most of a connection's cost.
    """
    return f"{url}?ssl_disabled=true" if url.startswith("mysql") else url


def _as_user(name: str) -> list[str]:
    """Return the prefix that runs a command as another user, for root; the command ends with its parent."""
    if os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "--pdeathsig=KILL"]


class Server:
    """A database server that a test may stop, kill and start again on the same port and data."""

    shuts_down_by = signal.SIGTERM

    def __init__(self, kind: str, options: tuple[str, ...]) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix=f"ap4r-{kind}-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def _command(self) -> list[str]:
        raise NotImplementedError

    def execute(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as the server's owner."""
        raise NotImplementedError

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL of a database for the user `ap4r`, through another port if there is a proxy."""
        raise NotImplementedError

    def make(self, database: str) -> str:
        """Create an empty database of that name, which the user `ap4r` owns, and return its URL."""
        raise NotImplementedError

    def start(self) -> Server:
        """Start, and return when it answers."""
        self.launch()
        self.wait()
        return self

    def launch(self, *options: str) -> None:
        """Start, and do not wait for it."""
        with (self.folder / "server.log").open("ab") as log:
            # If the tests are killed, so is the server.
            command = [require(shutil.which("setpriv"), "util-linux"), "--pdeathsig=KILL", *self._command(), *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def wait(self, seconds: float = _START_SECONDS) -> None:
        """Wait until it answers."""
        give_up_at = time.monotonic() + seconds
        while not self.answers():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                pytest.fail(f"{self.kind} did not start:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Return whether it answers."""
        try:
            self.execute("SELECT 1")
        except Exception:  # noqa: BLE001
            return False
        return True

    def log(self) -> str:
        """Return the server's log."""
        return (self.folder / "server.log").read_text(errors="replace")

    def stop(self, number: int | None = None) -> None:
        """End the server with a signal, or as its owner would; return when it has ended."""
        number = self.shuts_down_by if number is None else number
        if self._process is not None and self._process.poll() is None:
            if number == signal.SIGKILL:
                # What PostgreSQL has forked would only end when it notices, and until then it does not start again.
                self._signal_all(number)
            else:
                self._process.send_signal(number)
            self._process.wait(60)

    def pause(self) -> None:
        """Stop it where it stands."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue it (SIGCONT)."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        # PostgreSQL serves each connection from a process of its own.
        for pid in (self.pid, *children_of(self.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def make_read_only(self, read_only: bool) -> None:
        """Switch to read-only, or back."""
        raise NotImplementedError

    def set_zone(self, zone: str | None) -> None:
        """Put it into another time zone, or back."""
        raise NotImplementedError

    def set_globally(self, name: str, value: str) -> None:
        """Change a setting of the whole server."""
        raise NotImplementedError

    def end_sessions(self) -> None:
        """End every session of the user `ap4r`."""
        raise NotImplementedError

    @contextmanager
    def locked(self, database: str, table: str) -> Iterator[None]:
        """Keep every row of a table locked."""
        raise NotImplementedError
        yield

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Yield what tells how many statements the server has executed since."""
        raise NotImplementedError
        yield

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """End the connections of the user `ap4r`, and take all that it may have."""
        raise NotImplementedError
        yield

    def remove(self) -> None:
        """End the server and delete its data."""
        if self._process is not None and self._process.poll() is None:
            self.go_on()
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class MariaDB(Server):
    """mariadbd with its defaults, but for the folder, the port and the options."""

    def __init__(self, *options: str) -> None:
        self._program = require(shutil.which("mariadbd", path=_SERVER_FOLDERS), "mariadb-server")
        install = require(shutil.which("mariadb-install-db"), "mariadb-server")
        super().__init__("mariadb", options)
        self.data = self.folder / "data"
        if os.getuid() == 0:
            shutil.chown(self.folder, "mysql")
        subprocess.run(
            [*_as_user("mysql"), install, "--no-defaults", f"--datadir={self.data}",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip

    def _command(self) -> list[str]:
        return [
            *_as_user("mysql"), self._program, "--no-defaults", f"--datadir={self.data}", f"--socket={self.folder}/s",
            "--bind-address=127.0.0.1", f"--port={self.port}", f"--pid-file={self.folder}/pid",
            "--innodb-flush-log-at-trx-commit=1", "--skip-name-resolve", *self.options,
        ]  # fmt: skip

    def execute(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as root."""
        with self._connect("root", database) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _connect(self, user: str, database: str | None = None) -> Any:
        import pymysql

        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=PASSWORD if user == USER else "",
            database=database,
            connect_timeout=2,
            autocommit=True,
            ssl_disabled=True,
        )

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL of a database for the user `ap4r`."""
        return f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def make_read_only(self, read_only: bool) -> None:
        """Switch to read-only, or back."""
        self.execute(f"SET GLOBAL read_only = {int(read_only)}")

    def set_zone(self, zone: str | None) -> None:
        """Put it into another time zone, or back."""
        self.execute(f"SET GLOBAL time_zone = '{zone or 'SYSTEM'}'")

    def set_globally(self, name: str, value: str) -> None:
        """Change a setting of the whole server, for sessions to come."""
        self.execute(f"SET GLOBAL {name} = {value}")

    def end_sessions(self) -> None:
        """End every session of the user `ap4r`."""
        for (number,) in self.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'"):
            with suppress(Exception):  # it has ended by itself
                self.execute(f"KILL CONNECTION {number}")

    @contextmanager
    def locked(self, database: str, table: str) -> Iterator[None]:
        """Keep every row of a table locked."""
        with self._connect("root", database) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT * FROM {table} FOR UPDATE")
            yield

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Yield what tells how many statements the server has executed since, by its own count."""
        with self._connect("root") as connection, connection.cursor() as cursor:

            def questions() -> int:
                cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
                return int(cursor.fetchone()[1])

            before, asked = questions(), itertools.count(1)
            yield lambda: questions() - before - next(asked)

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """Open every possible connection except root's."""
        with ExitStack() as stack:
            root = stack.enter_context(self._connect("root")).cursor()
            root.execute("SELECT @@GLOBAL.max_connections")
            (before,) = root.fetchone()
            root.execute("SET GLOBAL max_connections = 10")  # the lowest there can be
            ours: set[int] = set()
            while True:
                root.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'")
                others = {int(number) for (number,) in root.fetchall()} - ours
                if not others and len(ours) >= 9:
                    break
                for number in others:
                    with suppress(Exception):  # it has ended by itself
                        root.execute(f"KILL CONNECTION {number}")
                with suppress(Exception):  # there are too many
                    while True:
                        ours.add(stack.enter_context(self._connect(USER)).thread_id())
            yield
            root.execute(f"SET GLOBAL max_connections = {before}")

    def make(self, database: str) -> str:
        """Create an empty database of that name and return its URL."""
        self.execute(f"DROP DATABASE IF EXISTS {database}")
        # The server's default collation is left alone: the tables must say by themselves what they need.
        self.execute(f"CREATE DATABASE {database}")
        self.execute(f"GRANT ALL ON {database}.* TO '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        return self.url(database)


class PostgreSQL(Server):
    """postgres with its defaults, but for the folder, the port and the options."""

    shuts_down_by = signal.SIGINT  # at SIGTERM it waits until every client has gone by itself

    def __init__(self, *options: str) -> None:
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        self._bin = Path(require(found[-1] if found else shutil.which("postgres"), "postgresql")).parent
        super().__init__("postgresql", options)
        self.data = self.folder / "data"
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
        subprocess.run(
            [*_as_user("postgres"), str(self._bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust",
             "-E", "UTF8", "--locale=C.UTF-8"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip

    def _command(self) -> list[str]:
        return [
            *_as_user("postgres"), str(self._bin / "postgres"), "-D", str(self.data), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}", *self.options,
        ]  # fmt: skip

    def execute(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as postgres."""
        import psycopg

        where = f"host={self.folder} port={self.port} user=postgres dbname={database or 'postgres'} connect_timeout=2"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL of a database for the user `ap4r`."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def make_read_only(self, read_only: bool) -> None:
        """Switch to read-only, or back."""
        self.set_globally("default_transaction_read_only", "on" if read_only else "off")

    def set_zone(self, zone: str | None) -> None:
        """Put it into another time zone, or back."""
        self.execute(f"ALTER ROLE {USER} " + (f"SET timezone = '{zone}'" if zone else "RESET timezone"))

    def set_globally(self, name: str, value: str) -> None:
        """Change a setting of the whole server, at once."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def end_sessions(self) -> None:
        """End every session of the user `ap4r`."""
        self.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{USER}'")

    @contextmanager
    def locked(self, database: str, table: str) -> Iterator[None]:
        """Keep every row of a table locked."""
        import psycopg

        with psycopg.connect(f"host={self.folder} port={self.port} user=postgres dbname={database}") as connection:
            connection.execute(f"SELECT * FROM {table} FOR UPDATE")
            yield

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Yield what tells how many statements the server has executed since, by its own log."""
        self.set_globally("log_statement", "all")
        try:
            wait_until(lambda: self.execute("SHOW log_statement") == [("all",)], "it logs all statements")
            begin = len(self.log())
            yield lambda: len(re.findall(r"LOG:  (?:statement|execute)", self.log()[begin:]))
        finally:
            self.set_globally("log_statement", "none")

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """Open every possible connection except those reserved for postgres."""
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres connect_timeout=2"
        with ExitStack() as stack:
            ours: list[int] = []
            while True:
                with suppress(psycopg.OperationalError):  # there are too many
                    while True:
                        ours.append(stack.enter_context(psycopg.connect(where)).info.backend_pid)
                ended = self.execute(
                    f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{USER}'"
                    f" AND pid <> ALL (ARRAY{ours})"
                )
                if not ended:
                    break
            yield

    def make(self, database: str) -> str:
        """Create an empty database of that name and return its URL."""
        if not self.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{USER}'"):
            self.execute(f"CREATE ROLE {USER} LOGIN")
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.execute(f"CREATE DATABASE {database} OWNER {USER}")
        return self.url(database)


KINDS: dict[str, type[MariaDB] | type[PostgreSQL]] = {"mariadb": MariaDB, "postgresql": PostgreSQL}


@functools.cache
def shared_server(kind: str) -> Server:
    """Return the server that tests share which need nothing of their own; it ends with the tests."""
    server = KINDS[kind]()
    atexit.register(server.remove)
    return server.start()
