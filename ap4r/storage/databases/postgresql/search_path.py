"""Finds the schema of a PostgreSQL database that holds the tables, independent of a connection's search_path.

A session's search_path is set by the server, a role, a database, a URL, or an application that has a schema for each
tenant; the tables stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

#: Schemas that are visible in the search_path come first.
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
    """The schemas that have a table, and whether the search_path leads to the first of them."""

    names: Sequence[str]
    is_visible: bool

    @property
    def namespace(self) -> str | None:
        """The schema that is meant: the visible one, else the only one; None if there is none, or it is ambiguous."""
        return self.names[0] if self.is_visible or len(self.names) == 1 else None


def find_schemas(connection: Connection, table: str) -> FoundSchemas:
    """Return every schema that the connection's user may use and that has the table."""
    rows = connection.execute(_FIND, {"name": table}).all()
    return FoundSchemas([_text(name) for name, _ in rows], bool(rows and rows[0][1]))


def several_schemas_text(names: Sequence[str], table: str) -> str:
    """Return the text that several schemas have the table, and the search_path names none of them."""
    listed = ", ".join(names)
    return (
        f"the schemas {listed} each have a table {table}, and the search_path names none of them; name one, as with "
        f"?options=-csearch_path%3D{names[0]} in the URL, or SET search_path on the connection"
    )


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
