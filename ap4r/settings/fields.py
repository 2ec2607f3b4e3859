"""Fields of the settings: what is known of each, how a value is checked, and the keys of tables in ap4r.toml. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, field
from typing import Any, NamedTuple

from ap4r.errors import ConfigError
from ap4r.redaction import shortened
from ap4r.signing.signing import SECRET_PREFIX

MOST = 2**31 - 1  #: of every number: 68 years, 2 GiB; timers and databases accept it
_INFO = "setting"
_TABLE_PREFIX = re.compile(r"(?!sqlite_)[a-z_][a-z0-9_]{0,31}", re.IGNORECASE)


class SettingInfo(NamedTuple):
    """What is known of a setting beside its name, type and default. Everything that lists settings is made from it."""

    doc: str  #: what it is, in Markdown
    section: str  #: the title of its group
    unit: str  #: of its number; "" if it has none, or counts what `doc` names
    least: float | None  #: the least number
    choices: tuple[str, ...]  #: the only values; any, if empty
    parse: Callable[..., object] | None  #: reads a value instead of `checked`
    table: str  #: how its tables begin in ap4r.toml, if it has tables; no variable can set those
    needs_restart: bool  #: a running dispatcher does not apply a change at SIGHUP
    flag: str  #: the option of `twistd ap4r`; "" if it has none
    is_secret: bool  #: no output may show its value


class Section:
    """A group of settings."""

    def __init__(self, title: str) -> None:
        self._title = title

    def setting(
        self,
        default: Any,
        doc: str,
        *,
        unit: str = "",
        least: float | None = None,
        choices: tuple[str, ...] = (),
        parse: Callable[..., object] | None = None,
        table: str = "",
        needs_restart: bool = False,
        flag: str = "",
        is_secret: bool = False,
    ) -> Any:
        """Return a dataclass field for a setting of this section; the parameters are those of `SettingInfo`."""
        info = SettingInfo(doc, self._title, unit, least, choices, parse, table, needs_restart, flag, is_secret)
        return field(default=default, metadata={_INFO: info})


def info_of(spec: Field[Any]) -> SettingInfo:
    """Return what is known of a setting."""
    info: SettingInfo = spec.metadata[_INFO]
    return info


def default_text(spec: Field[Any]) -> str:
    """Return the default of a setting for people, with its unit; "none" if it is empty."""
    default = spec.default
    if isinstance(default, tuple):
        return " ".join(default) or "none"
    return value_text(default, info_of(spec).unit)


def value_text(value: object, unit: str) -> str:
    """Return a boolean, a number with its unit, or a text, for people."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        number = f"{value:,g}" if value < 1_000_000 else f"{int(value):,}"
        return f"{number} {unit}".rstrip()
    return str(value)


def checked(name: str, where: str, spec: Field[Any], value: object) -> object:
    """Return a value of the setting's own type and within its range."""
    info = info_of(spec)

    def refused(problem: str) -> ConfigError:
        shown = "a token" if info.is_secret else shortened(value)
        return ConfigError(name, f"in {where}: {shown} {problem}")

    default, choices = spec.default, info.choices
    least = 0 if info.least is None else info.least
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise refused("is neither true nor false")
        return value
    if isinstance(default, (int, float)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise refused("is not a number")
        if not least <= value <= MOST:  # written so that NaN is refused
            raise refused(f"is not a number from {least} up to {MOST:,}")
        if isinstance(default, int) and value != int(value):
            raise refused("is not a whole number")
        return int(value) if isinstance(default, int) else float(value)
    texts: Sequence[Any] = value if isinstance(default, tuple) and isinstance(value, (list, tuple)) else [value]
    if not (texts or default == ()) or not all(isinstance(text, str) for text in texts):
        raise refused("is not a list of strings" if isinstance(default, tuple) else "is not a string")
    if not all(text and text == text.strip() and text.isprintable() for text in texts):
        raise refused("is empty, or has spaces at its ends or a control character")
    if choices and value not in choices:
        raise refused(f"is not one of {', '.join(choices)}")
    if name == "table_prefix" and not _TABLE_PREFIX.fullmatch(texts[0]):
        raise refused("is not a name of at most 32 letters, digits and _ (and sqlite_ is SQLite's own)")
    return tuple(texts) if isinstance(default, tuple) else texts[0]


def named_tables(name: str, where: str, value: object) -> Mapping[str, Mapping[str, Any]]:
    """Return the tables [name.KEY] by their keys.

    :raises ConfigError: it is something else.
    """
    if value == ():
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(name, f"in {where}: it must be a table of tables, [{name}.NAME]")
    for key, table in value.items():
        if isinstance(key, str) and SECRET_PREFIX in key:
            raise ConfigError(name, f"in {where}: a table's name must not be a secret")
        if not isinstance(key, str) or not isinstance(table, Mapping):
            raise ConfigError(name, f"in {where}: {shortened(key)} is not a table; write [{name}.{shortened(key)}]")
    return value


def listed_tables(name: str, where: str, value: object) -> Sequence[Mapping[str, Any]]:
    """Return the tables [[name]] in their order.

    :raises ConfigError: it is something else.
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(table, Mapping) for table in value):
        raise ConfigError(name, f"in {where}: it must be a list of tables, each begun with [[{name}]]")
    return value


def only_known(name: str, where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse unknown keys.

    :raises ConfigError: the text names the first of them.
    """
    for key in table:
        if key not in known:
            raise ConfigError(f"{name}.{shortened(key)}", f"in {where}: unknown; known are {', '.join(known)}")


def text_of(name: str, where: str, table: Mapping[str, Any], key: str) -> str:
    """Return a table's text, "" if it has none.

    :raises ConfigError: it is not a text, or is empty, or has spaces at its ends.
    """
    text = table.get(key, "")
    if key in table and (not isinstance(text, str) or not text or text != text.strip() or not text.isprintable()):
        raise ConfigError(
            f"{name}.{key}", f"in {where}: {shortened(text)} is not a text, or is empty, or has spaces at its ends"
        )
    return str(text)
