"""Making sure that a transaction is open on a driver's connection: what begins, and what only looks as if it did."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.driver import Driver

_AUTOCOMMIT = "it is in autocommit mode, so each statement would commit by itself; "


def open_transaction(connection: Connection, driver: Driver | None, what: str, *, library_begins: bool) -> None:
    """Have a transaction open after what the library calls its beginning.

    :param connection: runs statements on the driver's connection.
    :param library_begins: the library believes that it has begun one already.
    :raises ConnectionUnfit: each statement would commit by itself.
    """
    if driver is None:
        if _is_autocommit(connection):
            raise ConnectionUnfit(what, _AUTOCOMMIT + "use another isolation level")
        return
    if driver.begins_by_itself or driver.in_transaction:
        return
    if library_begins and driver.is_autocommit:
        raise ConnectionUnfit(what, _AUTOCOMMIT + "use another isolation level")
    if driver.begin is not None:
        connection.exec_driver_sql(driver.begin)


def join_transaction(connection: Connection, driver: Driver, what: str) -> None:
    """Have a transaction open that the application will end.

    :raises ConnectionUnfit: nothing is open and each statement would commit by itself.
    """
    if driver.begins_by_itself or driver.in_transaction:
        return
    if driver.is_autocommit:
        raise ConnectionUnfit(
            what, _AUTOCOMMIT + "begin a transaction before join(), or use transaction(), which begins one"
        )
    # What the driver would do at the next statement, but at a moment that is known: its end shows from then on.
    connection.exec_driver_sql(driver.begin or "SELECT 1")


def _is_autocommit(connection: Connection) -> bool:
    raw: Any = connection.connection.dbapi_connection
    try:
        return connection.dialect.detect_autocommit_setting(raw)
    except NotImplementedError:
        return False
