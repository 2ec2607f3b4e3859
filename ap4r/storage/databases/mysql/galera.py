"""The share of one among several dispatchers, by message id.

The nodes of a Galera cluster do not see each other's locks: two dispatchers that claim the same message conflict only
at COMMIT, where the work of one of them is lost. So each claims first from its own share.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, bindparam, func


class ClusterPartition(NamedTuple):
    """The number of a share, from 0, and the number of equal shares."""

    own: int
    shares: int


def is_in_share(table: Table) -> ColumnElement[Any]:
    """Return the condition that a row's id is in share `:own_share` of `:shares`; an id's last byte is random."""
    return func.ascii(func.substr(table.c.id, 16, 1)) % bindparam("shares") == bindparam("own_share")
