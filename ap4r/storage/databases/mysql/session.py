"""What a session of ours on MySQL or MariaDB is like, whatever the server, its init_connect or the URL sets.

Each variable here can change what our statements do, refuse them, or end the session; those of one kind of server or
version are left out where there are none, and so is what MySQL lets only privileged users set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_UNLIMITED = "18446744073709551615"
#: By name: the value, in SQL. `{lock_seconds}` and `{silent_seconds}` are filled in.
_VALUES: Mapping[str, str] = {
    # Values are refused where they would be cut, and tables are of the engine that is asked for. No mode changes how
    # statements are read: as Oracle's, with "" as NULL, or with backslashes in strings that mean themselves.
    "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "default_storage_engine": "'InnoDB'",
    # Statements that are refused, or whose rows are cut off.
    "sql_safe_updates": "0",
    "sql_select_limit": _UNLIMITED,
    "sql_big_selects": "1",
    "sql_auto_is_null": "0",
    "unique_checks": "1",
    # A COMMIT that begins another transaction, or ends the session.
    "completion_type": "0",
    # Time and memory. The deadline is ours.
    "innodb_lock_wait_timeout": "{lock_seconds}",
    "lock_wait_timeout": "{lock_seconds}",
    "wait_timeout": "{silent_seconds}",
    "max_statement_time": "0",
    "max_execution_time": "0",
    "idle_transaction_timeout": "0",
    "idle_readonly_transaction_timeout": "0",
    "idle_write_transaction_timeout": "0",
    "net_read_timeout": "GREATEST(@@SESSION.net_read_timeout, 30)",
    "net_write_timeout": "GREATEST(@@SESSION.net_write_timeout, 60)",
    "sort_buffer_size": "GREATEST(@@SESSION.sort_buffer_size, 262144)",
    "max_session_mem_used": "9223372036854775807",
    "big_tables": "0",
    # What tables are made and changed with.
    "alter_algorithm": "'DEFAULT'",
    "sql_if_exists": "0",
}
ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"
#: What has to be set before anything can be asked.
FIRST = (
    f"SET SESSION sql_select_limit = {_UNLIMITED}, SESSION sql_big_selects = 1"
    " /*M!100600 , SESSION max_statement_time = 0, SESSION max_session_mem_used = 9223372036854775807 */"
)
#: Asks which of the variables a server has.
WHICH = "SHOW SESSION VARIABLES WHERE Variable_name IN ('" + "', '".join(_VALUES) + "')"


def set_session(names: Iterable[str], lock_seconds: int, silent_seconds: int) -> str:
    """Give the statement that sets those of the variables which a server has.

    :param names: what `WHICH` has found.
    :param lock_seconds: how long a statement waits for another's lock.
    :param silent_seconds: how long the server bears a session that says nothing.
    """
    there = {name.lower() for name in names}
    values = {name: value for name, value in _VALUES.items() if name in there}
    text = ", ".join(f"SESSION {name} = {value}" for name, value in values.items())
    return "SET " + text.format(lock_seconds=lock_seconds, silent_seconds=silent_seconds)
