"""What MySQL, MariaDB and PostgreSQL have in common: connections that are bounded in number and time, lead to a server
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
from ap4r.storage.databases.url_options import wrong_option_text

_KEPT, _MOST = 4, 16  #: connections of a process: kept open, and at most
#: A server ends the session of a client that is silent within a transaction, which releases its locks: soon enough that
#: a dispatcher whose own row is locked can still send its heartbeat before it is considered dead (15 s).
SILENT_SECONDS = 9
#: A connection that was not used for so long is replaced, because the server may have ended it. An idle dispatcher
#: polls every 5 s over the same one.
_IDLE_SECONDS = 7.0
_IPV4_MAPPED = "::ffff:"
_SOCKET, _HOST, _USED_AT = "ap4r_line", "ap4r_host", "ap4r_used_at"

#: Engines of a parent process are kept: closing their connections would end the parent's sessions.
_inherited: list[Engine] = []


class ServerDatabase(ABC):
    """One database of a server, or of several that hold the same data."""

    def __init__(self, url: URL, hosts: tuple[Host, ...], deadline_seconds: float) -> None:
        self._url = url
        self._name = name_of(url, hosts)
        self._hosts = Hosts(hosts)
        self._deadline_seconds = deadline_seconds
        self._opening: dict[int, threading.Lock] = {}  # by process: the parent's may have been locked at the fork
        self._slots: dict[int, threading.BoundedSemaphore] = {}
        self._engine: Engine | None = None
        self._pid = 0
        self._checked: set[Host] = set()
        self.connections = 0
        self._call = threading.local()  # give_up_at: when the current call of this thread must end

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._name

    def engine(self) -> Engine:
        """Return the engine, which opens connections: a new one after a fork or `close`."""
        with self._opening_lock():
            if self._engine is not None and self._pid != os.getpid():
                self._discard_engine()
            if self._engine is None:
                self._engine, self._pid = self._make_engine(), os.getpid()
            return self._engine

    @property
    def engine_in_use(self) -> Engine | None:
        """The engine, which is valid until a fork or `close`."""
        return self.engine()

    def how_to_make(self, command: str) -> str:
        """Return the command: a server is assumed to exist until it says otherwise."""
        return f"create it with: {command}"

    def is_there(self) -> bool:
        """Return True: only connecting shows whether there is such a database."""
        return True

    def local_address(self, within_seconds: float) -> str:
        """Return this host's end of a connection to the server; "" for the path of a socket."""
        with self._connected(within_seconds) as connection:
            connected_socket = connection.info.get(_SOCKET)
            if connected_socket is None or connected_socket.family not in (socket.AF_INET, socket.AF_INET6):
                return ""
            address: str = connected_socket.getsockname()[0]
            return address.removeprefix(_IPV4_MAPPED)

    @contextmanager
    def writing(self, within_seconds: float) -> Iterator[Connection]:
        """Open a write transaction, which must end in `within_seconds`."""
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
        """Open a connection on which each statement is committed by itself; its use must end in `within_seconds`."""
        with self._connected(within_seconds) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        with self._opening_lock():
            self._discard_engine()

    @abstractmethod
    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Return the store error for a driver's error, or None if the statement is at fault and not the store."""

    @abstractmethod
    def _begin(self, within_seconds: float) -> str:
        """Return the SQL that opens a transaction in one round trip."""

    @abstractmethod
    def _connect(self, dialect: Dialect, arguments: dict[str, Any], within_seconds: float) -> Any:
        """Open the driver's connection to the one server that `arguments` name, and set up its session."""

    @abstractmethod
    def _socket_of(self, connection: Any) -> socket.socket | None:
        """Return a duplicate of the socket of a driver's connection; the caller shuts it down and closes it."""

    @abstractmethod
    def _check_server(self, connection: Any) -> None:
        """Compare the server's limits and durability with what ap4r needs, once for each server.

        :raises StoreUnusable: messages would be cut or refused; the text names the setting to change.
        """

    @abstractmethod
    def _engine_options(self) -> dict[str, Any]:
        """Return the dialect's own options."""

    @abstractmethod
    def _is_wrong_server(self, error: DBAPIError) -> bool:
        """Return whether the server answers but cannot do what another one may: it is read-only, or cut off."""

    @contextmanager
    def _connected(self, within_seconds: float) -> Iterator[Connection]:
        give_up_at = time.monotonic() + within_seconds
        pid = os.getpid()
        slot = self._slots.setdefault(pid, threading.BoundedSemaphore(_MOST))
        if not slot.acquire(timeout=max(0.0, within_seconds)):
            raise StoreUnavailable(self._name, f"all of its {_MOST} connections were in use")
        try:
            self._call.give_up_at = give_up_at
            engine = self.engine()
            pool = engine.pool
            connection = engine.connect()
            try:
                info = connection.info
                with watched(info.get(_SOCKET), give_up_at) as call:
                    try:
                        yield connection
                    except DBAPIError as error:
                        if self._is_wrong_server(error):
                            self._leave_server(connection)
                        raise
                    except OSError as error:  # within the driver, which may have stopped halfway
                        connection.invalidate(error)
                        raise
                if call is not None and call.was_cut:
                    connection.invalidate()
                info[_USED_AT] = time.monotonic()
            finally:
                # A committed transaction stays committed, whatever happens to the connection now.
                with suppress(DBAPIError):
                    connection.close()
                # A pool that was disposed of meanwhile keeps what is returned to it, open and unused.
                if engine.pool is not pool:
                    pool.dispose()
                if self._engine is not engine and pid == os.getpid():
                    engine.dispose()
        finally:
            slot.release()

    def _leave_server(self, connection: Connection) -> None:
        """Stop using a server. Connect again, because its name may lead to another server by now."""
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
                # Every transaction is ended where it was begun; a ROLLBACK at each return would be one more round trip.
                pool_reset_on_return=None,
                skip_autocommit_rollback=True,
                **self._engine_options(),
            )
        except (ArgumentError, TypeError, ValueError) as error:
            raise self._wrong_option(error) from error
        event.listen(engine, "do_connect", self._connect_to_any)
        event.listen(engine, "checkout", _refuse_idle)
        event.listen(engine, "before_cursor_execute", driver_calls.begin_first)
        event.listen(engine, "close", _close_socket)
        return engine

    def _connect_to_any(self, dialect: Dialect, record: Any, positional: Any, arguments: dict[str, Any]) -> Any:
        give_up_at = getattr(self._call, "give_up_at", time.monotonic() + self._deadline_seconds)
        hosts = self._hosts.in_order()
        for index, host in enumerate(hosts):
            # Each server gets an equal share of the time, so that one that does not answer leaves some for the next.
            within_seconds = max(0.05, give_up_at - time.monotonic()) / (len(hosts) - index)
            named = {key: value for key, value in (("host", host.name), ("port", host.port)) if value is not None}
            try:
                connection = self._connect(dialect, {**arguments, **named}, within_seconds)
                record.info[_SOCKET] = self._socket_of(connection)
            except dialect.loaded_dbapi.Error:
                self._hosts.failed(host)
                if index == len(hosts) - 1:
                    raise
                continue
            record.info[_HOST] = host
            record.info[_USED_AT] = time.monotonic()
            self.connections += 1
            if host not in self._checked:
                try:
                    self._check_server(connection)
                except BaseException:
                    _close_socket(connection, record)
                    connection.close()
                    raise
                self._checked.add(host)
            return connection
        raise StoreUnavailable(self._name, "its URL names no server")

    def _wrong_option(self, error: BaseException) -> StoreUnusable:
        return StoreUnusable(self._name, wrong_option_text(self._url.query, error))

    def _opening_lock(self) -> threading.Lock:
        return self._opening.setdefault(os.getpid(), threading.Lock())

    def _discard_engine(self) -> None:
        engine, self._engine = self._engine, None
        self._checked.clear()
        if engine is None:
            return
        if self._pid == os.getpid():
            engine.dispose()
        else:
            _inherited.append(engine)


def _refuse_idle(connection: Any, record: Any, proxy: Any) -> None:
    if time.monotonic() - record.info.get(_USED_AT, 0.0) > _IDLE_SECONDS:
        raise DisconnectionError("it was idle for too long")


def _close_socket(connection: Any, record: Any) -> None:
    connected_socket = record.info.pop(_SOCKET, None)
    if connected_socket is not None:
        connected_socket.close()
