"""`ap4r settings`: every setting with its value and source."""

from __future__ import annotations

from dataclasses import asdict

import click

from ap4r.cli.arguments import config_and_json_options
from ap4r.cli.output import say_json, write
from ap4r.cli.tables import Column, table
from ap4r.control.settings import DEFAULT, ListedSetting, list_settings
from ap4r.settings.fields import value_text

_COLUMNS = [
    Column("setting", is_text=True),
    Column("value", is_text=True),
    Column("from", is_text=True),
    Column("in a dispatcher applied at", is_text=True),
]


@click.command()
@click.option("--changed", is_flag=True, help="List only those that are not at their default.")
@config_and_json_options
def settings(changed: bool, config: str | None, as_json: bool) -> int:
    """List every setting with its value, the file or variable that it is from, and when a dispatcher applies a change.

    An application reads all settings when it starts.
    """
    listed = [one for one in list_settings(config) if not changed or one.source != DEFAULT]
    if as_json:
        say_json([asdict(one) for one in listed])
    else:
        write(table(_COLUMNS, _rows(listed)))
    return 0


def _rows(listed: list[ListedSetting]) -> list[list[str]]:
    rows: list[list[str]] = []
    section = ""
    for one in listed:
        if one.section != section:
            section = one.section
            rows.append([section, "", "", ""])
        rows.append([f"  {one.name}", _shown(one), one.source, "restart" if one.needs_restart else "SIGHUP"])
    return rows


def _shown(one: ListedSetting) -> str:
    if isinstance(one.value, list):
        return " ".join(one.value) or "none"
    return value_text(one.value, one.unit)
