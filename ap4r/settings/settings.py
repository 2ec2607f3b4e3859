"""Every setting of ap4r: a pure parser of tables and environment, and the loading of ap4r.toml.

One class has each name, default and unit; a test keeps docs/settings.md equal to it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import partial
from os.path import abspath, join
from pathlib import Path
from typing import Any

from ap4r.errors import ConfigError
from ap4r.message.target import APP
from ap4r.outcome.backoff import Backoff
from ap4r.outcome.outcome import DeliveryRules
from ap4r.settings.environment import CONFIG_NAME, read_variables
from ap4r.settings.fields import checked, setting
from ap4r.settings.networks import parse_host_patterns, parse_networks
from ap4r.settings.rewrite_rules import RewriteRule, parse_rewrites, refuse_unknown
from ap4r.settings.secrets import ReadSecret, in_folder, read_reference, refuse_reference
from ap4r.settings.settings_file import find_settings_file, read_settings_file, script_folder
from ap4r.settings.soap_security import SoapSecurity, parse_soap_security, parse_wsdl_copies
from ap4r.settings.store_url import absolute_store
from ap4r.settings.upstreams import (
    NO_PROXY,
    HostSettings,
    SenderSettings,
    UpstreamSettings,
    idle_tls,
    parse_hosts,
    parse_secrets,
    parse_senders,
    parse_upstreams,
    proxy_url,
    server_url,
)
from ap4r.signing.signing import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults. Durations are seconds, sizes are bytes."""

    store: str = setting("sqlite:///ap4r.db", "where messages are kept; a relative path counts from ap4r.toml's folder")
    stores: tuple[str, ...] = setting(
        (), "all stores that a dispatcher drains; `store` is always one of them, by default the first"
    )
    app_urls: tuple[str, ...] = setting(("http://127.0.0.1:8000",), "the servers of the upstream `app`")
    secrets: tuple[Secret, ...] = setting(
        (), "the secrets that sign deliveries to `app`; all sign, and any verifies", parse=parse_secrets
    )
    upstreams: tuple[UpstreamSettings, ...] = setting(
        (),
        "tables: `servers` and how they are called, of `app` and of others",
        parse=parse_upstreams,
        table="[upstreams.NAME]",
    )
    rewrite: tuple[RewriteRule, ...] = setting(
        (), "a list of tables: changes of targets before the call", parse=parse_rewrites, table="[[rewrite]]"
    )
    hosts: tuple[HostSettings, ...] = setting(
        (), "tables: the `secrets` of other hosts, for absolute URLs", parse=parse_hosts, table='[hosts."HOST"]'
    )
    senders: tuple[SenderSettings, ...] = setting(
        (),
        "tables: the `secrets` of other senders of Standard Webhooks",
        parse=parse_senders,
        table="[senders.NAME]",
    )
    allow_hosts: tuple[str, ...] = setting(
        (), "if set, absolute URLs go only to these hosts (and allow_networks)", parse=parse_host_patterns
    )
    deny_hosts: tuple[str, ...] = setting((), "hosts to which no absolute URL goes", parse=parse_host_patterns)
    allow_networks: tuple[str, ...] = setting(
        (), "if set, absolute URLs go only to these networks (and allow_hosts)", parse=parse_networks
    )
    deny_networks: tuple[str, ...] = setting(
        (), "networks to which no absolute URL goes, beside the link-local and metadata ones", parse=parse_networks
    )
    proxy: str = setting(
        "none",
        "the proxy for absolute URLs: `http://host:port`, or `environment` for HTTP_PROXY and related variables",
    )
    no_proxy: tuple[str, ...] = setting(
        (), "hosts of absolute URLs that are called without the proxy", parse=parse_host_patterns
    )
    create_tables: bool = setting(True, "create the tables in an empty store on first use")
    table_prefix: str = setting("ap4r_", "the prefix of every table's name")
    put_memory_seconds: float = setting(900.0, "how long a repeated put is recognised", least=1)
    intake_memory_seconds: float = setting(86_400.0, "the same for a message from the intake", least=1)
    store_deadline_seconds: float = setting(5.0, "the longest that one call of the store may take", least=0.1)

    script_names: tuple[str, ...] = setting(
        (), "the mounts (SCRIPT_NAME) that a header of a signed request may name; others are not deliveries"
    )

    max_messages: int = setting(1_000, "messages of one request", least=1)
    max_request_bytes: int = setting(
        16 * 1024 * 1024, "bytes of all messages of one request, if it has several", least=1
    )
    max_depth: int = setting(
        100,
        "how many deliveries may lead to a message, each asking for the next; one beyond is refused",
        least=0,
    )
    max_body_bytes: int = setting(1024 * 1024, "bytes of one message's body", least=0)
    max_header_bytes: int = setting(16 * 1024, "bytes of one message's headers", least=0)
    buffer_bytes: int = setting(
        64 * 1024, "how much of a response without Content-Length is held until its verdict; 0 streams", least=0
    )

    listen: str = setting("tcp:7438:interface=127.0.0.1", "the endpoint of /healthz and of the intake; `none` for none")
    intake: bool = setting(True, "accept messages there too, at /messages and /queues/NAME")
    intake_token: tuple[str, ...] = setting(
        (), "the tokens of the intake, several during a change; `env:NAME` or `file:PATH` refer to them"
    )
    intake_hosts: tuple[str, ...] = setting((), "further names of the intake, beside those of this host itself")
    intake_rate: float = setting(10_000.0, "messages a second that one caller may put there", least=0.001)
    intake_body_seconds: float = setting(30.0, "the longest that a request to the intake may take to arrive", least=0.1)
    bell: str = setting(
        "auto", "where new messages are announced: `auto`, `udp:`, `unix:/PATH`, or `none` for polling only"
    )
    concurrency: int = setting(64, "calls in flight at once", least=1)
    grace_seconds: float = setting(25.0, "how long calls in flight may take to end at SIGTERM", least=0)
    timeout_seconds: float = setting(30.0, "the deadline of one whole exchange", least=0.001)
    connect_timeout_seconds: float = setting(5.0, "the deadline of opening a connection", least=0.001)
    success: str = setting(
        "2xx", "what counts as delivered; `ap4r`: status 200 and a body with “true”", choices=("2xx", "ap4r")
    )
    max_deliveries: int = setting(20, "failures after which a message is dead", least=1)
    max_deliveries_client_error: int = setting(5, "the same if the last was a 4xx (not 408, 409, 425, 429)", least=1)
    client_error_seconds: float = setting(900.0, "but not before it was answered with a 4xx for this long", least=0)
    max_crashes: int = setting(10, "dispatchers that may die during a call of a message before it is dead", least=1)
    give_up_after_seconds: float = setting(259_200.0, "the age from which no attempt begins", least=0)
    backoff_first_seconds: float = setting(5.0, "the longest wait after the first attempt", least=0)
    backoff_factor: float = setting(2.0, "the factor by which the longest wait grows with each attempt", least=1)
    backoff_cap_seconds: float = setting(3_600.0, "the longest wait of all", least=0)
    retry_after_cap_seconds: float = setting(3_600.0, "the longest Retry-After that is obeyed", least=0)
    wsdl_seconds: float = setting(10.0, "the CPU time for reading a WSDL, or for writing a message by it", least=1)
    wsdl_dtd: bool = setting(False, "read WSDLs and schemas with a document type; nothing external is ever read")
    wsdl_copies: tuple[tuple[str, str], ...] = setting(
        (),
        "files that replace documents of WSDLs, by URL; a relative path counts from ap4r.toml's folder",
        parse=parse_wsdl_copies,
        table="[wsdl_copies]",
    )
    wsse: tuple[SoapSecurity, ...] = setting(
        (),
        "tables: how SOAP calls that name one are secured (WS-Security)",
        parse=parse_soap_security,
        table="[wsse.NAME]",
    )
    response_read_bytes: int = setting(1024 * 1024, "how much of a response is read before it is too large", least=0)
    response_kept_bytes: int = setting(4 * 1024, "how much of a failed response is kept", least=0)

    log_level: str = setting("info", "the least level that is logged", choices=("debug", "info", "warn", "error"))
    log_format: str = setting("text", "one line an event, for people or for machines", choices=("text", "json"))

    def __post_init__(self) -> None:
        """Set the servers and secrets of the upstream `app` from the settings app_urls and secrets."""
        app = replace(self.upstream(APP), servers=self.app_urls, secrets=self.secrets)
        others = tuple(one for one in self.upstreams if one.name != APP)
        object.__setattr__(self, "upstreams", (app, *others))

    def upstream(self, name: str) -> UpstreamSettings:
        """Return an upstream by its name; an unknown one has no settings."""
        return next((one for one in self.upstreams if one.name == name), UpstreamSettings(name=name))

    @property
    def delivery_rules(self) -> DeliveryRules:
        """The settings for the outcome of an attempt."""
        return DeliveryRules(
            success=self.success,
            max_deliveries=self.max_deliveries,
            max_deliveries_client_error=self.max_deliveries_client_error,
            client_error_seconds=self.client_error_seconds,
            max_crashes=self.max_crashes,
            give_up_after_seconds=self.give_up_after_seconds,
            retry_after_cap_seconds=self.retry_after_cap_seconds,
            backoff=Backoff(self.backoff_first_seconds, self.backoff_factor, self.backoff_cap_seconds),
        )


def parse_settings(
    table: Mapping[str, object],
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
    folder: str,
    read_secret: ReadSecret = refuse_reference,
    file: str = CONFIG_NAME,
) -> Settings:
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
    given += [(name, "the arguments", value) for name, value in overrides.items() if value is not None]
    for name in [*table, *overrides]:
        if name not in known:
            where = file if name in table else "the arguments"
            near = get_close_matches(name, known)
            hint = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(known)}"
            raise ConfigError(name, f"in {where}: unknown; {hint}")
    for name, where, value in given:
        parse = known[name].metadata["parse"]
        if parse is not None:
            values[name] = parse(name, where, value, read_secret)
        else:
            values[name] = checked(name, where, known[name], value)
        if name == "upstreams":
            values |= _spelt_short(where, values[name], [other for other, place, _ in given if place == where])
    values["upstreams"] = tuple(one.in_folder(folder) for one in values["upstreams"])
    values["wsse"] = tuple(one.in_folder(folder) for one in values["wsse"])
    values["wsdl_copies"] = tuple((url, abspath(join(folder, path))) for url, path in values["wsdl_copies"])
    refuse_unknown(values["rewrite"], {APP, *(one.name for one in values["upstreams"])})
    # The store that is written to is always drained.
    is_one = not values["stores"] or any(name == "store" for name, _, _ in given)
    # A single store first, because --store sets both.
    store = absolute_store(values["store"], folder) if is_one else ""
    stores = [absolute_store(url, folder, "stores") for url in values["stores"]]
    values["store"] = store or stores[0]
    values["stores"] = tuple(dict.fromkeys([values["store"], *stores]))
    values["intake_token"] = tuple(in_folder(text, folder) for text in values["intake_token"])
    values["app_urls"] = tuple(server_url("app_urls", url) for url in values["app_urls"])
    values["proxy"] = proxy_url("proxy", values["proxy"])
    if values["no_proxy"] and values["proxy"] == NO_PROXY:
        raise ConfigError("no_proxy", "it has no effect without a proxy; give one, or remove it")
    for one in values["upstreams"]:
        problem = "" if one.servers else idle_tls(one, values["app_urls"])
        if problem:
            raise ConfigError(f"upstreams.{one.name}", problem)
    return Settings(**values)


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


def load_settings(
    config: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None, **overrides: object
) -> Settings:
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
    return parse_settings(table, environ, overrides, str(folder), partial(read_reference, environ, folder), where)
