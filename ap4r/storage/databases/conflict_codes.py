"""Whether a driver's error means a conflict of two transactions, for every driver and every library that wraps it.

A table of codes. It imports no driver: the error's own attributes are enough.
"""

from __future__ import annotations

from collections.abc import Iterator

#: SQLite: SQLITE_BUSY and SQLITE_LOCKED. MySQL and MariaDB: a row changed meanwhile, the wait for a lock timed out, a
#: deadlock or a conflict between nodes, a lock was not available. SQLSTATE: serialization failure, deadlock, no lock.
_SQLITE = frozenset({5, 6})
_MYSQL = frozenset({1020, 1205, 1213, 3572})
_SQLSTATE = frozenset({"40001", "40P01", "55P03"})
_MOST_WRAPPERS = 10


def is_conflict(error: BaseException) -> bool:
    """Return whether an error means a conflict with another transaction, so that a retry may succeed."""
    return any(_is_conflict(one) for one in _wrapped(error))


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    # SQLAlchemy keeps the driver's error as `orig`, Django as the cause.
    one: BaseException | None = error
    for _ in range(_MOST_WRAPPERS):
        if one is None:
            return
        yield one
        inner = getattr(one, "orig", None)
        one = inner if isinstance(inner, BaseException) else one.__cause__


def _is_conflict(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str) and state in _SQLSTATE:
        return True
    number = error.args[0] if error.args else None
    # The drivers of MySQL put the code first. Errors of this form from other libraries are not a database's.
    return isinstance(number, int) and number in _MYSQL and "mysql" in type(error).__module__.lower()
