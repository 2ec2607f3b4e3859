"""Every setting of ap4r with its default and what is known of it, in sections.

The table of docs/settings.md, the options of `twistd ap4r`, the output of `ap4r settings` and the list of what needs a
restart are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ap4r.message.target import APP
from ap4r.outcome.backoff import Backoff
from ap4r.outcome.outcome import DeliveryRules
from ap4r.settings.fields import Section, info_of
from ap4r.settings.networks import parse_host_patterns, parse_networks
from ap4r.settings.rewrite_rules import RewriteRule, parse_rewrites
from ap4r.settings.soap_security import SoapSecurity, parse_soap_security, parse_wsdl_copies
from ap4r.settings.upstreams import (
    HostSettings,
    SenderSettings,
    UpstreamSettings,
    parse_hosts,
    parse_secrets,
    parse_senders,
    parse_upstreams,
)
from ap4r.signing.signing import Secret

STORE = Section("Store")
TARGETS = Section("Targets")
REQUESTS = Section("Messages of a request")
LISTEN = Section("Listen address")
CALLS = Section("Calls")
RETRIES = Section("Retries")
SOAP = Section("SOAP")
LOG = Section("Log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults. Durations are seconds, sizes are bytes."""

    store: str = STORE.setting(
        "sqlite:///ap4r.db",
        "where messages are kept; a relative path counts from ap4r.toml's folder",
        needs_restart=True,
        flag="store",
    )
    stores: tuple[str, ...] = STORE.setting(
        (),
        "all stores that a dispatcher drains; `store` is always one of them, by default the first",
        needs_restart=True,
    )
    create_tables: bool = STORE.setting(True, "create the tables in an empty store on first use", needs_restart=True)
    table_prefix: str = STORE.setting("ap4r_", "the prefix of every table's name", needs_restart=True)
    put_memory_seconds: float = STORE.setting(
        900.0, "how long a repeated put is recognised", least=1, unit="s", needs_restart=True
    )
    intake_memory_seconds: float = STORE.setting(
        86_400.0, "the same for a message from the intake", least=1, unit="s", needs_restart=True
    )
    store_deadline_seconds: float = STORE.setting(
        5.0, "the longest that one call of the store may take", least=0.1, unit="s", needs_restart=True
    )

    app_urls: tuple[str, ...] = TARGETS.setting(
        ("http://127.0.0.1:8000",), "the servers of the upstream `app`", flag="app-url"
    )
    secrets: tuple[Secret, ...] = TARGETS.setting(
        (), "the secrets that sign deliveries to `app`; all sign, and any verifies", parse=parse_secrets, is_secret=True
    )
    upstreams: tuple[UpstreamSettings, ...] = TARGETS.setting(
        (),
        "tables: `servers` and how they are called, of `app` and of others",
        parse=parse_upstreams,
        table="[upstreams.NAME]",
    )
    rewrite: tuple[RewriteRule, ...] = TARGETS.setting(
        (), "a list of tables: changes of targets before the call", parse=parse_rewrites, table="[[rewrite]]"
    )
    hosts: tuple[HostSettings, ...] = TARGETS.setting(
        (), "tables: the `secrets` of other hosts, for absolute URLs", parse=parse_hosts, table='[hosts."HOST"]'
    )
    senders: tuple[SenderSettings, ...] = TARGETS.setting(
        (), "tables: the `secrets` of other senders of Standard Webhooks", parse=parse_senders, table="[senders.NAME]"
    )
    allow_hosts: tuple[str, ...] = TARGETS.setting(
        (), "if set, absolute URLs go only to these hosts (and allow_networks)", parse=parse_host_patterns
    )
    deny_hosts: tuple[str, ...] = TARGETS.setting((), "hosts to which no absolute URL goes", parse=parse_host_patterns)
    allow_networks: tuple[str, ...] = TARGETS.setting(
        (), "if set, absolute URLs go only to these networks (and allow_hosts)", parse=parse_networks
    )
    deny_networks: tuple[str, ...] = TARGETS.setting(
        (), "networks to which no absolute URL goes, beside the link-local and metadata ones", parse=parse_networks
    )
    proxy: str = TARGETS.setting(
        "none", "the proxy for absolute URLs: `http://host:port`, or `environment` for HTTP_PROXY and related variables"
    )
    no_proxy: tuple[str, ...] = TARGETS.setting(
        (), "hosts of absolute URLs that are called without the proxy", parse=parse_host_patterns
    )

    script_names: tuple[str, ...] = REQUESTS.setting(
        (), "the mounts (SCRIPT_NAME) that a header of a signed request may name; others are not deliveries"
    )
    max_messages: int = REQUESTS.setting(1_000, "messages of one request", least=1)
    max_request_bytes: int = REQUESTS.setting(
        16 * 1024 * 1024, "bytes of all messages of one request, if it has several", least=1, unit="bytes"
    )
    max_depth: int = REQUESTS.setting(
        100, "how many deliveries may lead to a message, each asking for the next; one beyond is refused", least=0
    )
    max_body_bytes: int = REQUESTS.setting(1024 * 1024, "bytes of one message's body", least=0, unit="bytes")
    max_header_bytes: int = REQUESTS.setting(16 * 1024, "bytes of one message's headers", least=0, unit="bytes")
    buffer_bytes: int = REQUESTS.setting(
        64 * 1024,
        "how much of a response without Content-Length is held until its verdict; 0 streams",
        least=0,
        unit="bytes",
    )

    listen: str = LISTEN.setting(
        "tcp:7438:interface=127.0.0.1",
        "the endpoint of /healthz and of the intake; `none` for none",
        needs_restart=True,
        flag="listen",
    )
    intake: bool = LISTEN.setting(True, "accept messages there too, at /messages and /queues/NAME", needs_restart=True)
    intake_token: tuple[str, ...] = LISTEN.setting(
        (), "the tokens of the intake, several during a change; `env:NAME` or `file:PATH` refer to them", is_secret=True
    )
    intake_hosts: tuple[str, ...] = LISTEN.setting((), "further names of the intake, beside those of this host itself")
    intake_rate: float = LISTEN.setting(
        10_000.0, "messages a second that one caller may put there", least=0.001, unit="messages/s"
    )
    intake_body_seconds: float = LISTEN.setting(
        30.0, "the longest that a request to the intake may take to arrive", least=0.1, unit="s"
    )
    bell: str = LISTEN.setting(
        "auto",
        "where new messages are announced: `auto`, `udp:`, `unix:/PATH`, or `none` for polling only",
        needs_restart=True,
        flag="bell",
    )

    concurrency: int = CALLS.setting(64, "calls in flight at once", least=1, flag="concurrency")
    grace_seconds: float = CALLS.setting(
        25.0, "how long calls in flight may take to end at SIGTERM", least=0, unit="s", flag="grace"
    )
    timeout_seconds: float = CALLS.setting(30.0, "the deadline of one whole exchange", least=0.001, unit="s")
    connect_timeout_seconds: float = CALLS.setting(5.0, "the deadline of opening a connection", least=0.001, unit="s")
    success: str = CALLS.setting(
        "2xx", "what counts as delivered; `ap4r`: status 200 and a body with “true”", choices=("2xx", "ap4r")
    )
    response_read_bytes: int = CALLS.setting(
        1024 * 1024, "how much of a response is read before it is too large", least=0, unit="bytes"
    )
    response_kept_bytes: int = CALLS.setting(4 * 1024, "how much of a failed response is kept", least=0, unit="bytes")

    max_deliveries: int = RETRIES.setting(20, "failures after which a message is dead", least=1)
    max_deliveries_client_error: int = RETRIES.setting(
        5, "the same if the last was a 4xx (not 408, 409, 425, 429)", least=1
    )
    client_error_seconds: float = RETRIES.setting(
        900.0, "but not before it was answered with a 4xx for this long", least=0, unit="s"
    )
    max_crashes: int = RETRIES.setting(
        10, "dispatchers that may die during a call of a message before it is dead", least=1
    )
    give_up_after_seconds: float = RETRIES.setting(259_200.0, "the age from which no attempt begins", least=0, unit="s")
    backoff_first_seconds: float = RETRIES.setting(5.0, "the longest wait after the first attempt", least=0, unit="s")
    backoff_factor: float = RETRIES.setting(
        2.0, "the factor by which the longest wait grows with each attempt", least=1
    )
    backoff_cap_seconds: float = RETRIES.setting(3_600.0, "the longest wait of all", least=0, unit="s")
    retry_after_cap_seconds: float = RETRIES.setting(
        3_600.0, "the longest Retry-After that is obeyed", least=0, unit="s"
    )

    wsdl_seconds: float = SOAP.setting(
        10.0, "the CPU time for reading a WSDL, or for writing a message by it", least=1, unit="s"
    )
    wsdl_dtd: bool = SOAP.setting(False, "read WSDLs and schemas with a document type; nothing external is ever read")
    wsdl_copies: tuple[tuple[str, str], ...] = SOAP.setting(
        (),
        "files that replace documents of WSDLs, by URL; a relative path counts from ap4r.toml's folder",
        parse=parse_wsdl_copies,
        table="[wsdl_copies]",
    )
    wsse: tuple[SoapSecurity, ...] = SOAP.setting(
        (),
        "tables: how SOAP calls that name one are secured (WS-Security)",
        parse=parse_soap_security,
        table="[wsse.NAME]",
    )

    log_level: str = LOG.setting(
        "info", "the least level that is logged", choices=("debug", "info", "warn", "error"), flag="log-level"
    )
    log_format: str = LOG.setting(
        "text", "one line an event, for people or for machines", choices=("text", "json"), flag="log-format"
    )

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


#: The settings that a dispatcher reads only when it starts.
NEED_RESTART = tuple(sorted(spec.name for spec in fields(Settings) if info_of(spec).needs_restart))
