"""PyMySQL's connection, changed so that a call over it can be ended from outside, and that connecting is cheap."""

from __future__ import annotations

import socket
from typing import Any

from pymysql.connections import Connection as Driver  # type: ignore[import-untyped]

from ap4r.storage.access.call_timeout import watched


class MysqlConnection(Driver):  # type: ignore[misc]
    """PyMySQL's connection with a kept `duplicate` of its socket, so that a call can be ended from outside."""

    _usual_context: Any = None  #: for TLS; shared by all connections whose URL has no TLS options

    def __init__(self, give_up_at: float, **arguments: Any) -> None:
        self._give_up_at = give_up_at
        self.duplicate: socket.socket | None = None
        super().__init__(**{name: _as_utf8(name, value) for name, value in arguments.items()})

    def connect(self, sock: Any = None) -> None:
        """Connect and log in, or fail at the deadline."""
        if sock is None and not self.unix_socket:
            try:
                sock = socket.create_connection((self.host, self.port), self.connect_timeout)
                self.duplicate = sock.dup()
            except OSError as error:
                if sock is not None:
                    sock.close()
                problem = f"cannot connect to {self.host}:{self.port}: {error}"
                raise self.OperationalError(2003, problem) from error
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with watched(self.duplicate, self._give_up_at):
                super().connect(sock)
        except BaseException:
            line = self.take_socket()
            if line is not None:
                line.close()
            raise

    def _create_ssl_ctx(self, sslp: Any) -> Any:
        # If the URL has no TLS options, PyMySQL loads all of the system's authorities for each connection, which takes
        # longer than connecting, and then uses none of them. If PyMySQL stops calling this, it only takes longer.
        if sslp:
            return super()._create_ssl_ctx(sslp)
        if MysqlConnection._usual_context is None:
            MysqlConnection._usual_context = super()._create_ssl_ctx(sslp)
        return MysqlConnection._usual_context

    def take_socket(self) -> socket.socket | None:
        """Return the duplicate of the socket, and forget it."""
        line, self.duplicate = self.duplicate, None
        return line

    def close(self) -> None:
        """Send COM_QUIT and close."""
        line = self.take_socket()
        if line is not None:
            line.close()
        super().close()

    def close_at_once(self) -> None:
        """Close without waiting for the server."""
        line = self.take_socket()
        if line is not None:
            line.close()
        self._force_close()


def _as_utf8(name: str, value: Any) -> Any:
    """Return a password in the bytes that servers compare, where PyMySQL would encode it as Latin-1."""
    return value.encode() if name in ("password", "passwd") and isinstance(value, str) else value
