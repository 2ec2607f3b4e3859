"""The application's connections, of every kind, with one way to use them all as an application would."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from tests.support.django_settings import configure

_numbers = itertools.count()


class Subject:
    """One connection of an application. `given` is what `transaction()` and `join()` take."""

    given: dict[str, Any]

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._scopes = contextlib.ExitStack()

    def run(self, statement: str) -> None:
        """Execute a statement as the application does."""
        raise NotImplementedError

    def order(self, number: int) -> None:
        """Write a row of the application's own."""
        self.run(f"INSERT INTO orders VALUES ({number})")

    def begin(self) -> None:
        """Begin a transaction that the application will end."""
        raise NotImplementedError

    def commit(self) -> None:
        """End it."""
        raise NotImplementedError

    def rollback(self) -> None:
        """End it the other way."""
        raise NotImplementedError

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Create a transaction within the open one, as the application does; undone by an exception."""
        self.run("SAVEPOINT theirs")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK TO SAVEPOINT theirs")
            raise
        finally:
            self.run("RELEASE SAVEPOINT theirs")

    def close(self) -> None:
        """Close it."""
        raise NotImplementedError


class Dbapi(Subject):
    """A driver's connection."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.raw = self.connect()
        self.given = {"conn": self.raw}

    def connect(self) -> Any:
        """Connect."""
        raise NotImplementedError

    def run(self, statement: str) -> None:
        """Execute."""
        cursor = self.raw.cursor()
        cursor.execute(statement)
        cursor.close()

    def begin(self) -> None:
        """Begin with the first statement."""
        self.run("BEGIN")

    def commit(self) -> None:
        """Commit."""
        self.raw.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.raw.rollback()

    def close(self) -> None:
        """Close."""
        self.raw.close()


class Sqlite3(Dbapi):
    """As sqlite3 is by default, but with rows of another class."""

    def connect(self) -> Any:
        """Connect."""
        connection = sqlite3.connect(self.url.database, timeout=2)
        connection.row_factory = sqlite3.Row
        return connection


class Sqlite3Autocommit(Dbapi):
    """With isolation_level=None."""

    def connect(self) -> Any:
        """Connect."""
        return sqlite3.connect(self.url.database, timeout=2, isolation_level=None)


class Psycopg(Dbapi):
    """As psycopg is by default, but with rows of another class."""

    def connect(self) -> Any:
        """Connect."""
        psycopg = pytest.importorskip("psycopg")
        return psycopg.connect(_libpq(self.url), row_factory=psycopg.rows.dict_row)

    def begin(self) -> None:
        """Begin with the first statement."""
        self.run("SELECT 1")


class PsycopgAutocommit(Dbapi):
    """With autocommit."""

    def connect(self) -> Any:
        """Connect."""
        psycopg = pytest.importorskip("psycopg")
        return psycopg.connect(_libpq(self.url), autocommit=True)


class Psycopg2(Dbapi):
    """As psycopg2 is by default, but with rows of another class."""

    autocommit = False

    def connect(self) -> Any:
        """Connect."""
        psycopg2 = pytest.importorskip("psycopg2")
        from psycopg2.extras import RealDictCursor

        connection = psycopg2.connect(_libpq(self.url), cursor_factory=RealDictCursor)
        connection.autocommit = self.autocommit
        return connection

    def begin(self) -> None:
        """Begin with the first statement."""
        self.run("SELECT 1")


class Psycopg2Autocommit(Psycopg2):
    """With autocommit."""

    autocommit = True

    def begin(self) -> None:
        """Begin in SQL, of which psycopg2 takes no notice."""
        self.run("BEGIN")

    def commit(self) -> None:
        """Commit in SQL."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Roll back in SQL."""
        self.run("ROLLBACK")


class PyMySQL(Dbapi):
    """As PyMySQL is by default, but with rows of another class."""

    autocommit = False

    def connect(self) -> Any:
        """Connect."""
        import pymysql

        return pymysql.connect(
            **_mysql(self.url),
            autocommit=self.autocommit,
            cursorclass=pymysql.cursors.DictCursor,
            charset="utf8mb4",
            ssl_disabled=True,
        )


class PyMySQLAutocommit(PyMySQL):
    """With autocommit."""

    autocommit = True


class MySQLdb(Dbapi):
    """As mysqlclient is by default, but with rows of another class."""

    autocommit = False

    def connect(self) -> Any:
        """Connect."""
        module = pytest.importorskip("MySQLdb", reason="mysqlclient is not installed", exc_type=ImportError)
        from MySQLdb.cursors import DictCursor

        connection = module.connect(**_mysql(self.url), cursorclass=DictCursor, charset="utf8mb4")
        connection.autocommit(self.autocommit)
        return connection


class MySQLdbAutocommit(MySQLdb):
    """With autocommit."""

    autocommit = True


def traced(kind: type[Dbapi]) -> type[Dbapi]:
    """Return a driver's subject whose connection is wrapped as OpenTelemetry's instrumentation does it."""

    class Traced(kind):  # type: ignore[misc, valid-type]
        """With spans."""

        def connect(self) -> Any:
            """Connect."""
            dbapi = pytest.importorskip("opentelemetry.instrumentation.dbapi")
            return dbapi.instrument_connection("tests", super().connect(), "other_sql")

    return Traced


def pooled(kind: type[Dbapi], module: str, *, persistent: bool = False) -> type[Dbapi]:
    """Return a driver's subject whose connection is of a pool of DBUtils."""

    class Pooled(kind):  # type: ignore[misc, valid-type]
        """Of a pool."""

        def connect(self) -> Any:
            """Return a connection."""
            pools = pytest.importorskip("dbutils.persistent_db" if persistent else "dbutils.pooled_db")
            make = super().connect

            class Creator:
                dbapi, threadsafety = pytest.importorskip(module), 2
                connect = staticmethod(make)

            if persistent:
                self.pool = pools.PersistentDB(Creator, closeable=True)
                return self.pool.connection()
            self.pool = pools.PooledDB(Creator, maxshared=2)
            return self.pool.connection()

        def close(self) -> None:
            """Close it with its pool."""
            super().close()
            if not persistent:
                self.pool.close()

    return Pooled


class CoreConnection(Subject):
    """A SQLAlchemy Connection."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url)
        self.engine = create_engine(url, poolclass=NullPool, **options)
        self.connection = self.engine.connect()
        self.given = {"conn": self.connection}

    def run(self, statement: str) -> None:
        """Execute."""
        self.connection.execute(text(statement))

    def begin(self) -> None:
        """Begin, and hold the transaction."""
        self.transaction = self.connection.begin()

    def commit(self) -> None:
        """Commit what was begun, by whomever."""
        self.connection.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.connection.rollback()

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """As SQLAlchemy does."""
        with self.connection.begin_nested():
            yield

    def close(self) -> None:
        """Close."""
        self.connection.close()


class SaSession(Subject):
    """A SQLAlchemy Session."""

    driver = "psycopg"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        url = url.replace("+psycopg:", f"+{self.driver}:")
        self.engine = create_engine(url, poolclass=NullPool)
        self.session: Any = Session(self.engine)
        self.given = {"conn": self.session}

    def run(self, statement: str) -> None:
        """Execute."""
        self.session.execute(text(statement))

    def begin(self) -> None:
        """Begin explicitly."""
        self.session.begin()

    def commit(self) -> None:
        """Commit."""
        self.session.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.session.rollback()

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """As SQLAlchemy does."""
        with self.session.begin_nested():
            yield

    def close(self) -> None:
        """Close."""
        self.session.close()


class SaSessionPsycopg2(SaSession):
    """A Session on psycopg2."""

    driver = "psycopg2"


class ScopedSession(SaSession):
    """A scoped_session."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.session = scoped_session(sessionmaker(self.engine))
        self.given = {"conn": self.session}

    def close(self) -> None:
        """Close."""
        self.session.remove()


class Django(Subject):
    """An alias of Django's."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        configure()
        from django.db import connections, transaction

        self.alias = f"test{next(_numbers)}"
        connections.databases[self.alias] = connections.configure_settings(
            {"default": {"ENGINE": "django.db.backends.dummy"}, self.alias: self._settings()}
        )[self.alias]
        self.wrapper = connections[self.alias]
        self.transaction = transaction
        self.given = {"using": self.alias}

    def _settings(self) -> dict[str, Any]:
        if self.url.get_backend_name() == "sqlite":
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": self.url.database, "OPTIONS": {"timeout": 2}}
        engine = "mysql" if self.url.get_backend_name() == "mysql" else "postgresql"
        if engine == "mysql":
            pytest.importorskip("MySQLdb", reason="mysqlclient is not installed", exc_type=ImportError)
        return {
            "ENGINE": f"django.db.backends.{engine}",
            "NAME": self.url.database,
            "USER": self.url.username,
            "PASSWORD": self.url.password,
            "HOST": self.url.host,
            "PORT": str(self.url.port),
        }

    def run(self, statement: str) -> None:
        """Execute."""
        with self.wrapper.cursor() as cursor:
            cursor.execute(statement)

    def begin(self) -> None:
        """Enter an atomic block."""
        self.atomic = self.transaction.atomic(self.alias)
        self.atomic.__enter__()

    def commit(self) -> None:
        """Leave it."""
        self.atomic.__exit__(None, None, None)

    def rollback(self) -> None:
        """Leave it with an exception."""
        self.atomic.__exit__(KeyError, KeyError(), None)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """As Django does."""
        with self.transaction.atomic(self.alias):
            yield

    def close(self) -> None:
        """Close."""
        self.wrapper.close()


#: By name: the database, and what opens a connection to it.
SUBJECTS: dict[str, tuple[str, Callable[[str], Subject]]] = {
    "sqlite3": ("sqlite", Sqlite3),
    "sqlite3-autocommit": ("sqlite", Sqlite3Autocommit),
    "psycopg": ("postgresql", Psycopg),
    "psycopg-autocommit": ("postgresql", PsycopgAutocommit),
    "psycopg2": ("postgresql", Psycopg2),
    "psycopg2-autocommit": ("postgresql", Psycopg2Autocommit),
    "pymysql": ("mariadb", PyMySQL),
    "pymysql-autocommit": ("mariadb", PyMySQLAutocommit),
    "mysqlclient": ("mariadb", MySQLdb),
    "mysqlclient-autocommit": ("mariadb", MySQLdbAutocommit),
    "scoped-sqlite": ("sqlite", ScopedSession),
    "session-psycopg2": ("postgresql", SaSessionPsycopg2),
    "traced-sqlite3": ("sqlite", traced(Sqlite3)),
    "traced-psycopg": ("postgresql", traced(Psycopg)),
    "traced-psycopg2-autocommit": ("postgresql", traced(Psycopg2Autocommit)),
    "traced-pymysql": ("mariadb", traced(PyMySQL)),
    "traced-mysqlclient": ("mariadb", traced(MySQLdb)),
    "pooled-sqlite3": ("sqlite", pooled(Sqlite3, "sqlite3", persistent=True)),
    "pooled-psycopg2": ("postgresql", pooled(Psycopg2, "psycopg2")),
    "pooled-pymysql": ("mariadb", pooled(PyMySQL, "pymysql")),
    "pooled-mysqlclient-autocommit": ("mariadb", pooled(MySQLdbAutocommit, "MySQLdb")),
}
for _database in ("sqlite", "mariadb", "postgresql"):
    SUBJECTS[f"session-{_database}"] = (_database, SaSession)
    SUBJECTS[f"connection-{_database}"] = (_database, CoreConnection)
    SUBJECTS[f"django-{_database}"] = (_database, Django)
AUTOCOMMIT = [name for name in SUBJECTS if name.endswith("-autocommit")]


def _libpq(url: Any) -> str:
    return f"host={url.host} port={url.port} user={url.username} password={url.password} dbname={url.database}"


def _mysql(url: Any) -> dict[str, Any]:
    return {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "database": url.database,
    }
