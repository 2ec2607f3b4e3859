"""The session variables of our connections to MySQL or MariaDB, independent of the server, its init_connect or the URL.

Each variable here can change what our statements do, refuse them, or end the session. Those of one kind of server or
version are left out on others, and so are those that MySQL lets only privileged users set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_UNLIMITED = "18446744073709551615"
#: By name: the value, in SQL. `{lock_seconds}` and `{silent_seconds}` are filled in.
_VALUES: Mapping[str, str] = {
    # Values that do not fit are refused, and tables use the engine that is asked for. No mode changes how statements
    # are parsed, as Oracle's does, with "" as NULL, or with backslashes in strings that are not escapes.
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
    # How tables are created and changed.
    "alter_algorithm": "'DEFAULT'",
    "sql_if_exists": "0",
}
ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"
#: What has to be set before the first query.
FIRST = (
    f"SET SESSION sql_select_limit = {_UNLIMITED}, SESSION sql_big_selects = 1"
    " /*M!100600 , SESSION max_statement_time = 0, SESSION max_session_mem_used = 9223372036854775807 */"
)
#: Reads which of the variables a server has.
WHICH = "SHOW SESSION VARIABLES WHERE Variable_name IN ('" + "', '".join(_VALUES) + "')"


def set_session(names: Iterable[str], lock_seconds: int, silent_seconds: int) -> str:
    """Return the statement that sets those of the variables that a server has.

    :param names: what `WHICH` returned.
    :param lock_seconds: how long a statement waits for a lock.
    :param silent_seconds: after how long the server ends a silent session.
    """
    there = {name.lower() for name in names}
    values = {name: value for name, value in _VALUES.items() if name in there}
    text = ", ".join(f"SESSION {name} = {value}" for name, value in values.items())
    return "SET " + text.format(lock_seconds=lock_seconds, silent_seconds=silent_seconds)
