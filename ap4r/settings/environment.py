"""The variables AP4R_*: the settings that they set, those that are refused, and the file that they name. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ap4r.errors import ConfigError
from ap4r.settings.fields import info_of

VARIABLE_PREFIX = "AP4R_"
CONFIG = "config"  #: not a setting: AP4R_CONFIG names the file
CONFIG_VARIABLE = VARIABLE_PREFIX + CONFIG.upper()
CONFIG_NAME = "ap4r.toml"  #: the file if none is named
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def read_variables(environ: Mapping[str, str], known: Mapping[str, Field[Any]]) -> list[tuple[str, str, object]]:
    """Return name, variable and value of each setting that a variable sets.

    Other variables are ignored: Kubernetes creates some for every service, and a service may be named ap4r.

    :param known: the settings by their names.
    :raises ConfigError: one is empty, is the name of a table, or is nearly the name of a setting.
    """
    given: list[tuple[str, str, object]] = []
    for name, spec in known.items():
        variable = VARIABLE_PREFIX + name.upper()
        if variable not in environ:
            continue
        table = info_of(spec).table
        if table:
            problem = f"no variable sets tables; write {table} into ap4r.toml, or into the file that AP4R_CONFIG names"
            raise ConfigError(name, f"in {variable}: {problem}")
        given.append((name, variable, _read(name, variable, spec.default, environ[variable])))
    _refuse_misspelt(environ, known)
    return given


def config_path(config: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    """Return the path of the settings' file, whether it exists or not.

    :raises ConfigError: AP4R_CONFIG is set, and empty.
    """
    if not config and environ.get(CONFIG_VARIABLE) == "":
        raise ConfigError(CONFIG, f"in {CONFIG_VARIABLE}: it is empty; give a file, or unset it")
    return Path(config or environ.get(CONFIG_VARIABLE) or CONFIG_NAME)


def _refuse_misspelt(environ: Mapping[str, str], known: Mapping[str, Field[Any]]) -> None:
    names = [CONFIG, *(name for name, spec in known.items() if not info_of(spec).table)]
    for variable in environ:
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        if variable.startswith(VARIABLE_PREFIX) and name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.8)
            if near:
                raise ConfigError(name, f"in {variable}: unknown; did you mean {VARIABLE_PREFIX}{near[0].upper()}")


def _read(name: str, variable: str, default: object, text: str) -> object:
    """Parse a variable as the setting's type; an invalid one stays text, and is refused later like any other value."""
    text = text.strip()
    if not text:
        raise ConfigError(name, f"in {variable}: it is empty; give a value, or unset it")
    if isinstance(default, bool):
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    if isinstance(default, (int, float)):
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
    if name in ("secrets", "stores"):
        return text.split()  # a comma separates the hosts of one store
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text
