"""The use case of the settings: list each with its value, its source, and what applies a change."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

from ap4r.redaction import without_credentials
from ap4r.settings.fields import SettingInfo, info_of
from ap4r.settings.load import load_sourced_settings
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import HostSettings

DEFAULT = "default"  #: the source of a value that is not set


@dataclass(frozen=True, slots=True)
class ListedSetting:
    """A setting as people and programs may see it.

    :ivar value: a number, a boolean, a text without credentials, or a list of texts: of tables their names, of secrets
        one "hidden" each.
    :ivar source: the file, the variable, or `DEFAULT`.
    :ivar needs_restart: a running dispatcher does not apply a change at SIGHUP. An application reads all settings when
        it starts.
    """

    name: str
    section: str
    value: object
    unit: str
    source: str
    needs_restart: bool
    doc: str


def list_settings(config: str | os.PathLike[str] | None = None) -> list[ListedSetting]:
    """Return every setting, in the order of the documentation.

    :raises ConfigError: the settings cannot be read.
    """
    settings, sources = load_sourced_settings(config)
    return [
        ListedSetting(
            spec.name,
            info.section,
            _listed(info, getattr(settings, spec.name)),
            info.unit,
            sources.get(spec.name, DEFAULT),
            info.needs_restart,
            info.doc,
        )
        for spec, info in ((spec, info_of(spec)) for spec in fields(Settings))
    ]


def _listed(info: SettingInfo, value: Any) -> object:
    if info.is_secret:
        return ["hidden"] * len(value)
    if info.table:
        return [_name_of_table(one, number) for number, one in enumerate(value, 1)]
    if isinstance(value, tuple):
        return [without_credentials(str(one)) for one in value]
    return without_credentials(value) if isinstance(value, str) else value


def _name_of_table(one: Any, number: int) -> str:
    if isinstance(one, tuple):
        # The query of a document's URL may have a token.
        return without_credentials(str(one[0]).partition("?")[0])
    if isinstance(one, HostSettings):
        return one.host if one.port is None else f"{one.host}:{one.port}"
    return without_credentials(str(getattr(one, "name", f"rule {number}")))
