"""A table of effects in an application's own database, reached through every kind of connection."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ap4r.middleware import AP4RMiddleware
from ap4r.storage.inbox_record import is_mark
from tests.support.signed import environ_of, secret, secret_text, signed_request

KINDS = {
    "sqlite": ["sqlite3", "Connection", "Session"],
    "mariadb": ["pymysql", "Connection", "Session"],
    "postgresql": ["psycopg", "psycopg autocommit", "Connection", "Session", "Session serializable"],
}
URL = "http://10.0.0.5:8000/async/pay?a=1"


class EffectsTable:
    """The application's database. Its engine has nothing of ap4r."""

    def __init__(self, url: str, kind: str) -> None:
        self.url = url
        self.kind = kind
        self.receivers: list[Receiver] = []
        options = {"isolation_level": "SERIALIZABLE"} if "serializable" in kind else {}
        self.engine: Engine = create_engine(url, poolclass=NullPool, **options)
        with self.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS effects"))
            connection.execute(text("CREATE TABLE effects (number INTEGER)"))

    def open(self) -> Any:
        """Open a connection of this kind."""
        match self.kind.split()[0]:
            case "sqlite3":
                return sqlite3.connect(self.url.removeprefix("sqlite:///"))
            case "pymysql":
                import pymysql

                return pymysql.connect(**_where(self.url), database=make_url(self.url).database, ssl_disabled=True)
            case "psycopg":
                import psycopg

                where = {**_where(self.url), "dbname": make_url(self.url).database, "autocommit": "auto" in self.kind}
                return psycopg.connect(**where)
            case "Connection":
                return self.engine.connect()
        return Session(self.engine)

    def effect(self, conn: Any, number: int = 1) -> None:
        """Write an effect over the application's connection."""
        statement = f"INSERT INTO effects VALUES ({number})"
        if isinstance(conn, sqlite3.Connection) or not hasattr(conn, "execute"):
            conn.cursor().execute(statement)
        else:
            conn.execute(statement if "psycopg" in self.kind else text(statement))

    @property
    def effects(self) -> list[int]:
        """Read the effects that are committed."""
        with self.engine.connect() as connection:
            return [row[0] for row in connection.execute(text("SELECT number FROM effects ORDER BY number"))]

    @property
    def records(self) -> int:
        """Count the messages that the inbox has recorded: the mark of a signed path is none by itself."""
        with self.engine.connect() as connection:
            contents = connection.execute(text("SELECT content FROM ap4r_inbox")).scalars()
            return sum(not is_mark(bytes(content)) for content in contents)

    @property
    def messages(self) -> int:
        """Count the messages that wait in the same database."""
        with self.engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM ap4r_messages")).scalar_one())

    def close(self) -> None:
        """Drop the table, and close the receivers' inboxes."""
        for receiver in self.receivers:
            if receiver.application._repeats:
                receiver.application._repeats.inbox.close()
        with self.engine.begin() as connection:
            connection.execute(text("DROP TABLE effects"))
        self.engine.dispose()


def _where(url: str) -> dict[str, Any]:
    parsed = make_url(url)
    where = {"host": parsed.host, "port": parsed.port, "user": parsed.username}
    return where | ({"password": parsed.password} if parsed.password else {})


class Receiver:
    """A web application that receives once. `within` runs in the block of a first, `after` behind it."""

    def __init__(self, effects_table: EffectsTable, **options: Any) -> None:
        self.effects_table = effects_table
        self.calls = 0
        self.within: Callable[[Any, Any, Any], None] = lambda handle, conn, delivery: None
        self.after: Callable[[], None] = lambda: None
        settings = {"store": effects_table.url, "secrets": [secret_text(1)], "bell": "none", **options}
        self.application = AP4RMiddleware(self._application, **settings)
        effects_table.receivers.append(self)

    def _application(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.calls += 1
        handle, conn = environ["ap4r"], self.effects_table.open()
        try:
            with handle.once(conn) as delivery:
                if delivery.first:
                    self.effects_table.effect(conn)
                    self.within(handle, conn, delivery)
        finally:
            conn.close()
        self.after()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"first" if delivery.first else b"again"]

    def receive(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        """Answer a request; an exception of the application becomes a 500, as in a server."""
        return call(self.application, environ_of(request))


def call(application: Any, environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Answer a request as a server does."""
    begun: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        begun[:] = [status, headers]
        return lambda data: None

    try:
        result = application(environ, start_response)
        try:
            body = b"".join(result)
        finally:
            if hasattr(result, "close"):
                result.close()
    except ArithmeticError as error:
        return 500, {}, repr(error).encode()
    return int(begun[0][:3]), {name.lower(): value for name, value in begun[1]}, body


def delivery(
    number: int = 1, *, body: bytes = b"id=12", url: str = URL, party: int = 1, now: float | None = None
) -> Any:
    """Build the delivery of the message of this number, signed now."""
    message_id = f"0199{number:04x}-0000-7000-8000-000000000001"
    return signed_request(secret(party), url=url, now=time.time(), id=message_id, body=body)
