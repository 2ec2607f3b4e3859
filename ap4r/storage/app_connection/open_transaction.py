"""Ensures that a transaction is open on a driver's connection, even if a library's `begin` did not open one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.driver import Driver

_AUTOCOMMIT = "it is in autocommit mode, so each statement would commit by itself; "


def open_transaction(connection: Connection, driver: Driver | None, what: str, *, library_begins: bool) -> None:
    """Ensure that a transaction is open after the library's `begin`.

    :param connection: runs statements on the driver's connection.
    :param library_begins: the library considers one begun already.
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
    """Ensure that a transaction is open that the application will end.

    :raises ConnectionUnfit: nothing is open and each statement would commit by itself.
    """
    if driver.begins_by_itself or driver.in_transaction:
        return
    if driver.is_autocommit:
        raise ConnectionUnfit(
            what, _AUTOCOMMIT + "begin a transaction before join(), or use transaction(), which begins one"
        )
    # What the driver would do at the next statement, but at a known moment: from then on its end is noticed.
    connection.exec_driver_sql(driver.begin or "SELECT 1")


def _is_autocommit(connection: Connection) -> bool:
    raw: Any = connection.connection.dbapi_connection
    try:
        return connection.dialect.detect_autocommit_setting(raw)
    except NotImplementedError:
        return False
