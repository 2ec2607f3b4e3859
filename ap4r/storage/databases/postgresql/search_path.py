"""In which schema of a PostgreSQL database the tables are, wherever the search_path of a connection leads.

A session's search_path is set by the server, a role, a database, a URL, or an application that has a schema for each
tenant; the tables stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

#: Those that can be seen in the search_path come first.
_FIND = text(
    """
    SELECT n.nspname, pg_catalog.pg_table_is_visible(c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = :name AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
    ORDER BY 2 DESC, 1
    """
)


class FoundSchemas(NamedTuple):
    """The schemas that have a table, and whether the first of them is the one that the search_path leads to."""

    names: Sequence[str]
    is_visible: bool

    @property
    def namespace(self) -> str | None:
        """The one that is meant: the visible one, else the only one; None where there is none, or no telling."""
        return self.names[0] if self.is_visible or len(self.names) == 1 else None


def find_schemas(connection: Connection, table: str) -> FoundSchemas:
    """Look for a table in every schema that the connection's user may use."""
    rows = connection.execute(_FIND, {"name": table}).all()
    return FoundSchemas([_text(name) for name, _ in rows], bool(rows and rows[0][1]))


def say_several(names: Sequence[str], table: str) -> str:
    """Say that no search_path tells which of several schemas is meant."""
    listed = ", ".join(names)
    return (
        f"the schemas {listed} each have a table {table}, and the search_path names none of them; name one, as with "
        f"?options=-csearch_path%3D{names[0]} in the URL, or SET search_path on the connection"
    )


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
