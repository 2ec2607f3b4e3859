"""The options that several commands have, and the types of their values."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MOST = 1_000_000
_STORE = "The store (AP4R_STORE, ap4r.toml, else sqlite:///ap4r.db)"


def message_id(text: str) -> str:
    """Return a message's id as a store has it; it may be given in any spelling of a UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise click.BadParameter(f"{text} is not a message's id") from None


def count(text: str | int) -> int:
    """Return a number from 1 to 1,000,000."""
    text = str(text)
    # A longer text may be a number that Python refuses to read.
    if not text.isdecimal() or len(text) > len(str(_MOST)) or not 1 <= int(text) <= _MOST:
        raise click.BadParameter(f"{text[:40]} is not a number from 1 to {_MOST:,}")
    return int(text)


def queue_name(text: str) -> str:
    """Return the name of a queue, which a database can take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{text} is not text in the encoding of this terminal") from None
    return text


def config_and_json_options(function: _Function) -> _Function:
    """Add --config and --json, which every command has."""
    json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
    config_option = click.option("--config", metavar="FILE", help="The settings (AP4R_CONFIG, else ap4r.toml).")
    return config_option(json_option(function))


def store_option(function: _Function) -> _Function:
    """Add --store to a command that works on one store: the parameter `store`, None where it is not given."""
    option = click.option("--store", metavar="URL", multiple=True, callback=_only_one, help=f"{_STORE}.")
    return option(function)


def stores_option(function: _Function) -> _Function:
    """Add --store to a command that works on every store: the parameter `stores`, empty where it is not given."""
    option = click.option(
        "--store", "stores", metavar="URL", multiple=True, help=f"{_STORE}; several with a --store each."
    )
    return option(function)


def _only_one(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    if len(values) > 1:
        raise click.UsageError("--store is given more than once; this command works on one store", context)
    return values[0] if values else None
