"""Checks the settings of a MySQL or MariaDB server, so that no message is cut, refused or lost."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from ap4r.errors import StoreUnusable

_log = logging.getLogger("ap4r.storage")

#: The server's variables that are read.
READ = (
    "version", "max_allowed_packet", "innodb_flush_log_at_trx_commit", "innodb_log_file_size",
    "innodb_log_files_in_group", "innodb_redo_log_capacity", "sync_binlog", "log_bin", "binlog_format", "wsrep_on",
)  # fmt: skip


def check(store: str, found: Mapping[str, str], max_row_bytes: int) -> None:
    """Compare a server's settings with what ap4r needs, and warn of those with which a crash can lose messages.

    :param store: the store's name.
    :param found: the variables of `READ` that the server has.
    :param max_row_bytes: the largest row that must be accepted.
    :raises StoreUnusable: messages would be cut or refused; the text names the setting to change.
    """
    _refuse_old(store, found["version"])
    if found.get("log_bin") == "ON" and found.get("binlog_format") == "STATEMENT":
        raise StoreUnusable(
            store, "its binlog_format is STATEMENT, which does not allow READ COMMITTED; set it to ROW or MIXED"
        )
    _refuse_small(store, found, max_row_bytes)
    for name in ("innodb_flush_log_at_trx_commit", "sync_binlog"):
        # MariaDB's 3 syncs even more often than 1 does.
        safe = found.get(name, "1") in (("1", "3") if name.startswith("innodb") else ("1",))
        if not safe and (name != "sync_binlog" or found.get("log_bin") == "ON"):
            _log.warning(
                "store %s: %s is %s, so a crash of the server can lose messages; set it to 1",
                *(store, name, found[name]),
            )


def _refuse_old(store: str, version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    least = (10, 6) if "mariadb" in version.lower() else (8, 0)
    if numbers < least:
        raise StoreUnusable(store, f"version {version} has no SKIP LOCKED; MySQL 8.0 or MariaDB 10.6 has")


def _refuse_small(store: str, found: Mapping[str, str], max_row_bytes: int) -> None:
    # A value is sent escaped, at worst at twice its size.
    needed = 2 * max_row_bytes + 65_536
    if int(found["max_allowed_packet"]) < needed:
        raise StoreUnusable(
            store,
            f"max_allowed_packet is {found['max_allowed_packet']}, max_body_bytes needs {needed}; change one of them",
        )
    # https://dev.mysql.com/doc/refman/8.0/en/innodb-parameters.html: ten times the largest BLOB.
    capacity = found.get("innodb_redo_log_capacity")
    name = "innodb_log_file_size" if capacity is None else "innodb_redo_log_capacity"
    size = int(capacity or found["innodb_log_file_size"])
    if capacity is None:
        size *= int(found.get("innodb_log_files_in_group", 1))
    if size < 10 * max_row_bytes:
        raise StoreUnusable(store, f"{name} is {size}, max_body_bytes needs {10 * max_row_bytes}; change one of them")
