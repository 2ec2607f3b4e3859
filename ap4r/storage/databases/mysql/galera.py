"""The share of one among several dispatchers, by message id.

The nodes of a Galera cluster do not see what the others have locked; two that take the same message meet only at
COMMIT, where one of them has worked for nothing. So each takes first what falls to its own share.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, bindparam, func


class ClusterPartition(NamedTuple):
    """One of so many equal shares, counted from 0."""

    own: int
    shares: int


def is_in_share(table: Table) -> ColumnElement[Any]:
    """Give the condition that a row's id falls to share `:own_share` of `:shares`; an id's last byte is random."""
    return func.ascii(func.substr(table.c.id, 16, 1)) % bindparam("shares") == bindparam("own_share")
