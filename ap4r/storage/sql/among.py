"""Statements about several ids: compiled for a few numbers of them, then sent as text like other hot statements.

SQLAlchemy would write the list into the statement anew each time, and handle every id by name: on a batch that costs
more than the database's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, Select, bindparam

from ap4r.storage.sql.compiled import Compiled

#: Lists are filled up to one of these lengths, so that neither we nor a database keep a statement for every length.
_LENGTHS = (1, 8, 32, 128, 256)
_NAMES = [f"id_{number}" for number in range(_LENGTHS[-1])]

Ids = Sequence[BindParameter[bytes]]


class Among:
    """A query for rows by a list of ids, without an order.

    :param query: gives the query for so many ids.
    """

    def __init__(self, query: Callable[[Ids], Select[Any]]) -> None:
        self._query = query
        self._compiled: dict[int, Compiled] = {}

    def rows(self, connection: Connection, ids: Sequence[bytes]) -> list[Row[Any]]:
        """Give the rows of these ids; none for none."""
        found: list[Row[Any]] = []
        longest = _LENGTHS[-1]
        for start in range(0, len(ids), longest):
            some = ids[start : start + longest]
            length = next(length for length in _LENGTHS if length >= len(some))
            # An id that stands twice is found once.
            padded = [*some, *[some[-1]] * (length - len(some))]
            found += self._of(length).execute(connection, dict(zip(_NAMES, padded, strict=False))).all()
        return found

    def _of(self, length: int) -> Compiled:
        compiled = self._compiled.get(length)
        if compiled is None:
            compiled = self._compiled[length] = Compiled(self._query([bindparam(name) for name in _NAMES[:length]]))
        return compiled
