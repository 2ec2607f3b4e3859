"""What MySQL, MariaDB and PostgreSQL have in common: connections that are bounded in number and time, go to a server
that works, and are left alone by a fork; plain transactions with a known end."""

from __future__ import annotations

import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.pool import QueuePool

from ap4r.errors import StoreError, StoreUnavailable, StoreUnusable
from ap4r.storage.access.call_timeout import watched
from ap4r.storage.databases import driver_calls
from ap4r.storage.databases.hosts import Host, Hosts, name_of
from ap4r.storage.databases.url_options import say_wrong_option

_KEPT, _MOST = 4, 16  #: connections of a process that stay open, and that there may be
#: A server ends the session of a caller that fell silent within a transaction, so that its locks are let go: soon
#: enough that a dispatcher whose own row they hold can still beat before others take it for dead (15 s).
SILENT_SECONDS = 9
#: A connection that was not used for so long is made anew, for the server may have ended it. An idle dispatcher looks
#: each 5 s, over the same one.
_IDLE_SECONDS = 7.0
_IPV4_MAPPED = "::ffff:"
_LINE, _HOST, _USED_AT = "ap4r_line", "ap4r_host", "ap4r_used_at"

#: Engines of a parent process are kept: closing their connections would end the parent's sessions.
_inherited: list[Engine] = []


class ServerDatabase(ABC):
    """One database of a server, or of several that hold the same."""

    def __init__(self, url: URL, hosts: tuple[Host, ...], deadline_seconds: float) -> None:
        self._url = url
        self._name = name_of(url, hosts)
        self._hosts = Hosts(hosts)
        self._deadline_seconds = deadline_seconds
        self._opening: dict[int, threading.Lock] = {}  # by process: a parent's may have been held at the fork
        self._rooms: dict[int, threading.BoundedSemaphore] = {}
        self._engine: Engine | None = None
        self._pid = 0
        self._looked_at: set[Host] = set()
        self.connections = 0
        self._call = threading.local()  # give_up_at: when the call that this thread is in must be over

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._name

    def engine(self) -> Engine:
        """Give what makes the connections: another one after a fork or `close`."""
        with self._opening_lock():
            if self._engine is not None and self._pid != os.getpid():
                self._let_go()
            if self._engine is None:
                self._engine, self._pid = self._make_engine(), os.getpid()
            return self._engine

    @property
    def engine_in_use(self) -> Engine | None:
        """The engine: it stays until a fork or `close`."""
        return self.engine()

    def how_to_make(self, command: str) -> str:
        """Return the command: a server is taken for there until it says otherwise."""
        return f"make it with: {command}"

    def is_there(self) -> bool:
        """Tell nothing: only connecting shows whether there is such a database."""
        return True

    def local_address(self, within_seconds: float) -> str:
        """Return this host's end of a connection to the server; empty for a socket's path."""
        with self._connected(within_seconds) as connection:
            line = connection.info.get(_LINE)
            if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
                return ""
            address: str = line.getsockname()[0]
            return address.removeprefix(_IPV4_MAPPED)

    @contextmanager
    def writing(self, within_seconds: float) -> Iterator[Connection]:
        """Open a write transaction, to be over within so many seconds."""
        with self._connected(within_seconds) as connection:
            driver_calls.begin_with_next(connection, self._begin(within_seconds))
            try:
                yield connection
                if driver_calls.take_begin(connection) is None:
                    driver_calls.run(connection, "COMMIT")
            except BaseException:
                driver_calls.roll_back(connection)
                raise

    rows, run_each, run_many = (
        staticmethod(driver_calls.rows),
        staticmethod(driver_calls.run_each),
        staticmethod(driver_calls.run_many),
    )

    @contextmanager
    def reading(self, within_seconds: float) -> Iterator[Connection]:
        """Give a connection on which each statement stands for itself, to be over within so many seconds."""
        with self._connected(within_seconds) as connection:
            yield connection

    def close(self) -> None:
        """Let go of every connection."""
        with self._opening_lock():
            self._let_go()

    @abstractmethod
    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Say what a driver's error means for the caller; None when it blames the statement, not the store."""

    @abstractmethod
    def _begin(self, within_seconds: float) -> str:
        """Give what opens a transaction in one round trip."""

    @abstractmethod
    def _connect(self, dialect: Dialect, arguments: dict[str, Any], within_seconds: float) -> Any:
        """Open the driver's connection to the one server that `arguments` name, and make its session ours."""

    @abstractmethod
    def _line(self, connection: Any) -> socket.socket | None:
        """Give a duplicate of a driver's connection's socket, to be cut and closed by the caller."""

    @abstractmethod
    def _look_at_server(self, connection: Any) -> None:
        """Compare the server's limits and durability with what ap4r needs, once for each server.

        :raises StoreUnusable: messages would be cut or refused; says which setting to change.
        """

    @abstractmethod
    def _engine_options(self) -> dict[str, Any]:
        """Give the dialect's own options."""

    @abstractmethod
    def _is_wrong_server(self, error: DBAPIError) -> bool:
        """Tell whether the server answers but cannot do what is asked, where another one may: read-only, cut off."""

    @contextmanager
    def _connected(self, within_seconds: float) -> Iterator[Connection]:
        give_up_at = time.monotonic() + within_seconds
        room = self._rooms.setdefault(os.getpid(), threading.BoundedSemaphore(_MOST))
        if not room.acquire(timeout=max(0.0, within_seconds)):
            raise StoreUnavailable(self._name, f"all of its {_MOST} connections were in use")
        try:
            self._call.give_up_at = give_up_at
            connection = self.engine().connect()
            try:
                info = connection.info
                with watched(info.get(_LINE), give_up_at) as call:
                    try:
                        yield connection
                    except DBAPIError as error:
                        if self._is_wrong_server(error):
                            self._turn_away(connection)
                        raise
                    except OSError as error:  # within the driver, which may have left off halfway
                        connection.invalidate(error)
                        raise
                if call is not None and call.was_cut:
                    connection.invalidate()
                info[_USED_AT] = time.monotonic()
            finally:
                # What was committed is committed, whatever happens to the connection now.
                with suppress(DBAPIError):
                    connection.close()
        finally:
            room.release()

    def _turn_away(self, connection: Connection) -> None:
        """Leave a server, also where its name may mean another one by now."""
        host = connection.info.get(_HOST)
        if host is not None:
            self._hosts.failed(host)
        connection.invalidate()
        connection.engine.dispose()

    def _make_engine(self) -> Engine:
        try:
            engine = create_engine(
                self._url,
                isolation_level="AUTOCOMMIT",
                poolclass=QueuePool,
                pool_size=_KEPT,
                max_overflow=_MOST - _KEPT,
                pool_timeout=self._deadline_seconds,
                pool_use_lifo=True,
                # Every transaction is ended where it was begun; a ROLLBACK at each return would be a round trip more.
                pool_reset_on_return=None,
                skip_autocommit_rollback=True,
                **self._engine_options(),
            )
        except (ArgumentError, TypeError, ValueError) as error:
            raise self._wrong_option(error) from error
        event.listen(engine, "do_connect", self._connect_to_any)
        event.listen(engine, "checkout", _refuse_idle)
        event.listen(engine, "before_cursor_execute", driver_calls.begin_first)
        event.listen(engine, "close", _close_line)
        return engine

    def _connect_to_any(self, dialect: Dialect, record: Any, positional: Any, arguments: dict[str, Any]) -> Any:
        give_up_at = getattr(self._call, "give_up_at", time.monotonic() + self._deadline_seconds)
        hosts = self._hosts.in_turn()
        for index, host in enumerate(hosts):
            # Each its share of the time, so that one that does not answer leaves some for the next.
            within_seconds = max(0.05, give_up_at - time.monotonic()) / (len(hosts) - index)
            named = {key: value for key, value in (("host", host.name), ("port", host.port)) if value is not None}
            try:
                connection = self._connect(dialect, {**arguments, **named}, within_seconds)
                record.info[_LINE] = self._line(connection)
            except dialect.loaded_dbapi.Error:
                self._hosts.failed(host)
                if index == len(hosts) - 1:
                    raise
                continue
            record.info[_HOST] = host
            record.info[_USED_AT] = time.monotonic()
            self.connections += 1
            if host not in self._looked_at:
                try:
                    self._look_at_server(connection)
                except BaseException:
                    _close_line(connection, record)
                    connection.close()
                    raise
                self._looked_at.add(host)
            return connection
        raise StoreUnavailable(self._name, "its URL names no server")

    def _wrong_option(self, error: BaseException) -> StoreUnusable:
        return StoreUnusable(self._name, say_wrong_option(self._url.query, error))

    def _opening_lock(self) -> threading.Lock:
        return self._opening.setdefault(os.getpid(), threading.Lock())

    def _let_go(self) -> None:
        engine, self._engine = self._engine, None
        self._looked_at.clear()
        if engine is None:
            return
        if self._pid == os.getpid():
            engine.dispose()
        else:
            _inherited.append(engine)


def _refuse_idle(connection: Any, record: Any, proxy: Any) -> None:
    if time.monotonic() - record.info.get(_USED_AT, 0.0) > _IDLE_SECONDS:
        raise DisconnectionError("it was idle for too long")


def _close_line(connection: Any, record: Any) -> None:
    line = record.info.pop(_LINE, None)
    if line is not None:
        line.close()
