"""Alembic: excludes ap4r's tables from what `alembic revision --autogenerate` of the application compares.

They are in the application's database and not in its models, so Alembic would consider them removed tables, and write
a migration that drops them, with all messages in them. In `env.py`:

    from ap4r.contrib.alembic import include_object

    context.configure(..., include_object=include_object)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

from ap4r.settings.load import load_settings
from ap4r.storage.schema.tables import Schema

IncludeObject = Callable[[Any, str | None, str, bool, Any], bool]
IncludeName = Callable[[str | None, str, Mapping[str, Any]], bool]


def include_object(item: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    """Return whether Alembic compares an object: not if it is one of ap4r's tables or belongs to one.

    The tables' prefix is that of ap4r.toml or AP4R_TABLE_PREFIX.
    """
    return _is_theirs(_table_of(item, name, type_), _usual_prefix())


def include_name(name: str | None, type_: str, parent_names: Mapping[str, Any]) -> bool:
    """Return whether Alembic reads an object from the database; a little faster than `include_object`."""
    table = name if type_ == "table" else parent_names.get("table_name")
    return _is_theirs(table, _usual_prefix())


def objects_but(prefix: str, also: IncludeObject | None = None) -> IncludeObject:
    """Return an `include_object` for another prefix, or one that combines ap4r's rule with the application's.

    :param prefix: the prefix of the tables' names.
    :param also: the application's own, which is called for everything else.
    """

    def included(item: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
        if not _is_theirs(_table_of(item, name, type_), prefix):
            return False
        return also is None or bool(also(item, name, type_, reflected, compare_to))

    return included


def _table_of(item: Any, name: str | None, type_: str) -> str | None:
    return name if type_ == "table" else getattr(getattr(item, "table", None), "name", None)


def _is_theirs(table: str | None, prefix: str) -> bool:
    """Return whether a table is the application's."""
    return table not in _names(prefix)


@cache
def _usual_prefix() -> str:
    return load_settings().table_prefix


@lru_cache(maxsize=8)
def _names(prefix: str) -> frozenset[str]:
    schema = Schema(prefix)
    return frozenset({schema.version_table, *(table.name for table in schema.metadata.tables.values())})
