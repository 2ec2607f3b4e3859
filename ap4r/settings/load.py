"""The loading of settings: ap4r.toml, variables and arguments are combined into valid settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from os.path import abspath, join
from pathlib import Path
from typing import Any, NamedTuple

from ap4r.errors import ConfigError
from ap4r.message.target import APP
from ap4r.settings.environment import CONFIG_NAME, read_variables
from ap4r.settings.fields import checked, info_of
from ap4r.settings.rewrite_rules import refuse_unknown
from ap4r.settings.secrets import ReadSecret, in_folder, read_reference, refuse_reference
from ap4r.settings.settings import Settings
from ap4r.settings.settings_file import find_settings_file, read_settings_file, script_folder
from ap4r.settings.store_url import absolute_store
from ap4r.settings.upstreams import NO_PROXY, UpstreamSettings, idle_tls, proxy_url, server_url

ARGUMENTS = "the arguments"


class SourcedSettings(NamedTuple):
    """Settings, and by the name of each that is not a default the place that gave its value."""

    settings: Settings
    sources: Mapping[str, str]


def parse_settings(
    table: Mapping[str, object],
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
    folder: str,
    read_secret: ReadSecret = refuse_reference,
    file: str = CONFIG_NAME,
) -> Settings:
    """Return what `parse_sourced_settings` returns, without the sources."""
    return parse_sourced_settings(table, environ, overrides, folder, read_secret, file).settings


def parse_sourced_settings(
    table: Mapping[str, object],
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
    folder: str,
    read_secret: ReadSecret = refuse_reference,
    file: str = CONFIG_NAME,
) -> SourcedSettings:
    """Combine ap4r.toml's table, AP4R_* variables and overrides into valid settings; later ones take precedence.

    An override of None counts as absent.

    :param folder: the folder from which a relative SQLite path counts.
    :param read_secret: returns the secret of a reference.
    :param file: the file of the table, for errors.
    :raises ConfigError: names the setting that is unknown, of the wrong type or out of range, and its place.
    """
    known = {spec.name: spec for spec in fields(Settings)}
    values: dict[str, Any] = {name: spec.default for name, spec in known.items()}
    given: list[tuple[str, str, object]] = [(name, file, value) for name, value in table.items()]
    given += read_variables(environ, known)
    sources: dict[str, str] = {}
    given += [(name, ARGUMENTS, value) for name, value in overrides.items() if value is not None]
    for name in [*table, *overrides]:
        if name not in known:
            where = file if name in table else ARGUMENTS
            near = get_close_matches(name, known)
            hint = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(known)}"
            raise ConfigError(name, f"in {where}: unknown; {hint}")
    for name, where, value in given:
        sources[name] = where
        parse = info_of(known[name]).parse
        if parse is not None:
            values[name] = parse(name, where, value, read_secret)
        else:
            values[name] = checked(name, where, known[name], value)
        if name == "upstreams":
            short = _spelt_short(where, values[name], [other for other, place, _ in given if place == where])
            values |= short
            sources |= dict.fromkeys(short, where)
    values["upstreams"] = tuple(one.in_folder(folder) for one in values["upstreams"])
    values["wsse"] = tuple(one.in_folder(folder) for one in values["wsse"])
    values["wsdl_copies"] = tuple((url, abspath(join(folder, path))) for url, path in values["wsdl_copies"])
    refuse_unknown(values["rewrite"], {APP, *(one.name for one in values["upstreams"])})
    # The store that is written to is always drained.
    is_one = not values["stores"] or "store" in sources
    # A single store first, because --store sets both.
    store = absolute_store(values["store"], folder) if is_one else ""
    stores = [absolute_store(url, folder, "stores") for url in values["stores"]]
    values["store"] = store or stores[0]
    values["stores"] = tuple(dict.fromkeys([values["store"], *stores]))
    for name, other in (("store", "stores"), ("stores", "store")):
        if name not in sources and other in sources:
            sources[name] = sources[other]
    values["intake_token"] = tuple(in_folder(text, folder) for text in values["intake_token"])
    values["app_urls"] = tuple(server_url("app_urls", url) for url in values["app_urls"])
    values["proxy"] = proxy_url("proxy", values["proxy"])
    if values["no_proxy"] and values["proxy"] == NO_PROXY:
        raise ConfigError("no_proxy", "it has no effect without a proxy; give one, or remove it")
    for one in values["upstreams"]:
        problem = "" if one.servers else idle_tls(one, values["app_urls"])
        if problem:
            raise ConfigError(f"upstreams.{one.name}", problem)
    return SourcedSettings(Settings(**values), sources)


def load_settings(
    config: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None, **overrides: object
) -> Settings:
    """Return what `load_sourced_settings` returns, without the sources.

    :raises ConfigError: a named file cannot be read, or a setting is unknown or out of range.
    """
    return load_sourced_settings(config, environ, **overrides).settings


def load_sourced_settings(
    config: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None, **overrides: object
) -> SourcedSettings:
    """Load the settings: ap4r.toml, then AP4R_* variables, then `overrides`; later ones take precedence.

    The file is `config`, else AP4R_CONFIG, else the nearest ap4r.toml in the working folder or above it, or in the
    folder of the running script or above it.

    :raises ConfigError: a named file cannot be read, or a setting is unknown or out of range.
    """
    environ = os.environ if environ is None else environ
    path = find_settings_file(config, environ, script_folder())
    table: Mapping[str, object] = {} if path is None else read_settings_file(path)
    # Not resolved: a mounted file is often a link into a folder that changes with each version of it.
    folder = Path.cwd() if path is None else path.parent
    where = CONFIG_NAME if path is None else str(path)
    read_secret = partial(read_reference, environ, folder)
    return parse_sourced_settings(table, environ, overrides, str(folder), read_secret, where)


def _spelt_short(where: str, upstreams: tuple[UpstreamSettings, ...], beside: Collection[str]) -> dict[str, object]:
    """Return servers and secrets of [upstreams.app] as the settings app_urls and secrets."""
    short: dict[str, object] = {}
    for app in (one for one in upstreams if one.name == APP):
        for name, own, value in (("app_urls", "servers", app.servers), ("secrets", "secrets", app.secrets)):
            if value and name in beside:
                raise ConfigError(name, f"in {where}: given here and as {own} of [upstreams.app]; remove one")
            if value:
                short[name] = value
    return short
