"""Tables of ap4r.toml, [NAME.KEY] and [[NAME]]: whether they are tables, and have known keys only. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ap4r.errors import ConfigError
from ap4r.redaction import shortened
from ap4r.signing import SECRET_PREFIX


def named_tables(name: str, where: str, value: object) -> Mapping[str, Mapping[str, Any]]:
    """Give the tables [name.KEY] by their keys.

    :raises ConfigError: it is something else.
    """
    if value == ():
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(name, f"in {where}: it must be a table of tables, [{name}.NAME]")
    for key, table in value.items():
        if isinstance(key, str) and SECRET_PREFIX in key:
            raise ConfigError(name, f"in {where}: a table is named by a name, not by a secret")
        if not isinstance(key, str) or not isinstance(table, Mapping):
            raise ConfigError(name, f"in {where}: {shortened(key)} is not a table; write [{name}.{shortened(key)}]")
    return value


def listed_tables(name: str, where: str, value: object) -> Sequence[Mapping[str, Any]]:
    """Give the tables [[name]] in their order.

    :raises ConfigError: it is something else.
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(table, Mapping) for table in value):
        raise ConfigError(name, f"in {where}: it must be a list of tables, each begun with [[{name}]]")
    return value


def only_known(name: str, where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys that mean nothing.

    :raises ConfigError: naming the first of them.
    """
    for key in table:
        if key not in known:
            raise ConfigError(f"{name}.{shortened(key)}", f"in {where}: unknown; known are {', '.join(known)}")


def text_of(name: str, where: str, table: Mapping[str, Any], key: str) -> str:
    """Give a table's text, empty where it has none.

    :raises ConfigError: it is no text, or has no letter that can be read.
    """
    text = table.get(key, "")
    if key in table and (not isinstance(text, str) or not text or text != text.strip() or not text.isprintable()):
        raise ConfigError(
            f"{name}.{key}", f"in {where}: {shortened(text)} is not a text, or is empty, or has blanks at its ends"
        )
    return str(text)
