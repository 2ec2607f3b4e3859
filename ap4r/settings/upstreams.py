"""The tables [upstreams.NAME], [hosts."HOST"] and [senders.NAME] of ap4r.toml, and the servers that they name. Pure.

Each secret belongs to one of them, and signs or verifies for no other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import abspath, join
from typing import Any
from urllib.parse import urlsplit

from ap4r.errors import ConfigError, TargetRefused
from ap4r.message.target import APP, parse_target
from ap4r.redaction import shortened
from ap4r.settings.fields import named_tables, only_known, text_of
from ap4r.settings.secrets import Credential, ReadSecret, is_reference, parse_credential
from ap4r.signing.signing import Secret

DEFAULT_PORTS = {"http": 80, "https": 443}
UNIX = "unix:"  #: the beginning of a server on a UNIX socket: unix:/run/app.sock
MOST_WEIGHT = 1_000
#: Values instead of a proxy's URL: no proxy; the proxy of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
NO_PROXY, PROXY_ENVIRONMENT = "none", "environment"


def server_url(name: str, url: str) -> str:
    """Return a server's URL in canonical form.

    :raises ConfigError: it is neither an http or https URL of a server nor a UNIX socket.
    """
    if url.startswith(UNIX):
        if not re.fullmatch(r"unix:/[^\x00-\x1f]{1,100}", url):
            raise ConfigError(name, f"{shortened(url)} is not of the form unix:/run/app.sock")
        return url
    if not url.lower().startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise ConfigError(name, f"{shortened(url)} is not of the form http://host:port or unix:/run/app.sock")
    try:
        return parse_target(url)[0].url.rstrip("/")
    except TargetRefused as error:
        raise ConfigError(name, f"{shortened(url)}: {error.problem}") from error


def proxy_url(name: str, text: str) -> str:
    """Return the setting of a proxy, `http://host:port`, in canonical form; `none` and `environment` as they are.

    :raises ConfigError: it is something else. Credentials are never shown.
    """
    if text in (NO_PROXY, PROXY_ENVIRONMENT):
        return text
    if "@" in text:
        raise ConfigError(name, f'credentials belong in HTTP_PROXY; set that, and {name} = "{PROXY_ENVIRONMENT}"')
    url = server_url(name, text)
    if not url.startswith("http://") or urlsplit(url).path:
        raise ConfigError(name, f"{shortened(text)} is not of the form http://host:port, {PROXY_ENVIRONMENT} or none")
    return url


def parse_weights(name: str, where: str, value: object) -> dict[str, float]:
    """Parse servers, each a URL or `{url = "…", weight = 2}`; return their weights.

    :raises ConfigError: the text names the wrong one and the reason.
    """
    given = [value] if isinstance(value, (str, Mapping)) else value
    if not isinstance(given, (list, tuple)):
        raise ConfigError(name, f'in {where}: it must be a list of URLs, or of {{url = "…", weight = 2}}')
    weights: dict[str, float] = {}
    for one in given:
        table = one if isinstance(one, Mapping) else {"url": one}
        only_known(name, where, table, ("url", "weight"))
        url, weight = table.get("url"), table.get("weight", 1.0)
        if not isinstance(url, str):
            raise ConfigError(name, f'in {where}: it must be a list of URLs as text, or of {{url = "…", weight = 2}}')
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
            raise ConfigError(name, f"in {where}: the weight of {shortened(url)} is not a number")
        if not 0.001 <= weight <= MOST_WEIGHT:
            raise ConfigError(name, f"in {where}: the weight of {shortened(url)} is not from 0.001 to {MOST_WEIGHT:,}")
        server = server_url(name, url)
        if server in weights:
            raise ConfigError(name, f"in {where}: {shortened(url)} occurs twice; give it a weight")
        weights[server] = float(weight)
    return weights


def host_and_port(name: str, where: str, text: object) -> str:
    """Return `host` or `host:port` in canonical form, with a port only if one was given.

    :raises ConfigError: it is neither.
    """
    if not isinstance(text, str) or not text or re.search(r"[/?#@\s]", text):
        raise ConfigError(name, f"in {where}: {shortened(text)} is not of the form shop.example.com, or with a port")
    try:
        # The scheme of which this is not the default port, so that the port is kept.
        scheme = "https" if text.endswith(":80") else "http"
        return urlsplit(parse_target(f"{scheme}://{text}")[0].url).netloc
    except TargetRefused as error:
        raise ConfigError(name, f"in {where}: {shortened(text)}: {error.problem}") from error


#: The sender of our own dispatcher's deliveries.
OWN_SENDER = "ap4r"
LEAST_OUTSTANDING, ROUND_ROBIN, RANDOM_TWO = "least_outstanding", "round_robin", "random_two"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """A named set of interchangeable servers. `host` and `scheme` are those of the public URL, if that differs.

    `host` may have a port; empty, like `scheme`, uses those of the connection. `weights` has the servers whose
    weight is not 1. `ca`, `certificate` and `key` are files in PEM. `guarded` servers are checked as absolute URLs are.
    """

    name: str
    servers: tuple[str, ...] = ()
    host: str = ""
    scheme: str = ""
    secrets: tuple[Secret, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()
    balance: str = LEAST_OUTSTANDING
    check: str = ""
    check_seconds: float = 5.0
    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    proxy: str = ""
    proxy_auth: Credential | None = None
    auth: Credential | None = None
    guarded: bool = False

    def in_folder(self, folder: str) -> UpstreamSettings:
        """Return a copy with absolute paths of its files; relative ones count from `folder`."""
        files: dict[str, Any] = {
            name: abspath(join(folder, getattr(self, name))) for name in _FILES if getattr(self, name)
        }
        return replace(self, **files) if files else self


_KEYS = (
    *("servers", "balance", "host", "scheme", "secrets", "check", "check_seconds"),
    *("ca", "certificate", "key", "server_name", "proxy", "proxy_auth", "auth", "guarded"),
)
_FILES = ("ca", "certificate", "key")
_OF_TLS = (*_FILES, "server_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """Another host to which messages go by absolute URL. `port` is None for every port of it."""

    host: str
    port: int | None
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """Another sender of Standard Webhooks to this application, with secrets of its own."""

    name: str
    secrets: tuple[Secret, ...]


def parse_upstreams(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[UpstreamSettings, ...]:
    """Parse the tables [upstreams.NAME].

    :raises ConfigError: the text names the table and says what is wrong.
    """
    return tuple(
        _upstream(f"{name}.{key}", where, key, table, read_secret)
        for key, table in named_tables(name, where, value).items()
    )


def _upstream(full: str, where: str, name: str, table: Mapping[str, Any], read_secret: ReadSecret) -> UpstreamSettings:
    if not _NAME.fullmatch(name) or name in DEFAULT_PORTS or name == UNIX[:-1]:
        raise ConfigError(full, f"in {where}: an upstream's name is of a-z, 0-9, ., _ and -, and not http, https, unix")
    only_known(full, where, table, _KEYS)
    texts = {key: text_of(full, where, table, key) for key in ("scheme", "balance", "check", "server_name", *_FILES)}
    for key, known in (("scheme", tuple(DEFAULT_PORTS)), ("balance", (LEAST_OUTSTANDING, ROUND_ROBIN, RANDOM_TWO))):
        if key in table and texts[key] not in known:
            raise ConfigError(f"{full}.{key}", f"in {where}: {shortened(texts[key])} is not one of {', '.join(known)}")
    weights = parse_weights(f"{full}.servers", where, table.get("servers", ()))
    if not weights and name != APP:
        raise ConfigError(full, f'in {where}: without servers nothing could be called; give servers = ["http://…"]')
    settings = UpstreamSettings(
        name=name,
        servers=tuple(weights),
        weights=tuple((server, weight) for server, weight in weights.items() if weight != 1.0),
        host=host_and_port(f"{full}.host", where, table["host"]) if "host" in table else "",
        secrets=parse_secrets(f"{full}.secrets", where, table.get("secrets", ()), read_secret),
        proxy=server_url(f"{full}.proxy", text_of(full, where, table, "proxy")) if "proxy" in table else "",
        proxy_auth=parse_credential(f"{full}.proxy_auth", where, table.get("proxy_auth", ""), read_secret),
        auth=parse_credential(f"{full}.auth", where, table.get("auth", ""), read_secret),
        guarded=table.get("guarded", False),
        check_seconds=table.get("check_seconds", 5.0),
        **{key: text for key, text in texts.items() if text},
    )
    problem = _problem(settings)
    if "check_seconds" in table and not settings.check:
        problem = problem or "check_seconds without a check: give the path to check, or remove it"
    if problem:
        raise ConfigError(full, f"in {where}: {problem}")
    return settings


def _problem(one: UpstreamSettings) -> str:
    seconds: object = one.check_seconds
    guarded: object = one.guarded
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0.1 <= seconds <= 3_600:
        return "check_seconds must be a number from 0.1 to 3600"
    if not isinstance(guarded, bool):
        return "guarded is neither true nor false"
    if one.check:
        try:
            if parse_target(one.check)[0].upstream != APP:
                return "check must be a path on the servers, such as /healthz"
        except TargetRefused as error:
            return f"check: {error.problem}"
    if bool(one.certificate) != bool(one.key):
        return "certificate and key belong together: give both, or none"
    if one.proxy and (not one.proxy.startswith("http://") or urlsplit(one.proxy).path):
        return "a proxy must be given as http://host:port"
    if one.proxy and any(server.startswith(UNIX) for server in one.servers):
        return "a UNIX socket cannot be reached through a proxy"
    if one.proxy and one.guarded:
        return "guarded has no effect with a proxy, which looks the servers' names up itself"
    if one.proxy_auth and not one.proxy:
        return "proxy_auth without a proxy: give one, or remove it"
    return idle_tls(one, one.servers)


def idle_tls(one: UpstreamSettings, servers: Sequence[str]) -> str:
    """Return the settings of an upstream that are for TLS although none of its servers uses it; "" if there are none.

    :param servers: empty if they are set elsewhere.
    """
    said = [key for key in _OF_TLS if getattr(one, key)]
    if not servers or not said or any(server.startswith("https://") for server in servers):
        return ""
    return f"{said[0]} is for https, and no server uses it: write https:// or remove it"


def parse_hosts(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[HostSettings, ...]:
    """Parse the tables [hosts."HOST"], HOST with or without a port.

    :raises ConfigError: the text names the table and says what is wrong.
    """
    hosts = []
    for key, table in named_tables(name, where, value).items():
        full = f"{name}.{key}"
        only_known(full, where, table, ("secrets",))
        parts = urlsplit("//" + host_and_port(full, where, key))
        secrets = parse_secrets(f"{full}.secrets", where, table.get("secrets", ()), read_secret)
        hosts.append(HostSettings(host=parts.hostname or "", port=parts.port, secrets=secrets))
    return tuple(hosts)


def parse_senders(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[SenderSettings, ...]:
    """Parse the tables [senders.NAME]; as an argument also `{"NAME": ["whsec_…"]}`.

    :raises ConfigError: the text names the table and says what is wrong.
    """
    if isinstance(value, Mapping):
        value = {key: {"secrets": of} if isinstance(of, (str, list, tuple)) else of for key, of in value.items()}
    senders = []
    for key, table in named_tables(name, where, value).items():
        full = f"{name}.{key}"
        only_known(full, where, table, ("secrets",))
        if not _NAME.fullmatch(key) or key == OWN_SENDER:
            raise ConfigError(full, f"in {where}: a sender's name is of a-z, 0-9, ., _ and -, and not {OWN_SENDER}")
        secrets = parse_secrets(f"{full}.secrets", where, table.get("secrets", ()), read_secret)
        if not secrets:
            raise ConfigError(full, f"in {where}: without secrets no request of this sender can be verified")
        senders.append(SenderSettings(name=key, secrets=secrets))
    return tuple(senders)


def parse_secrets(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[Secret, ...]:
    """Parse secrets, each `whsec_…` or a reference to one or several; return them in order and without repeats.

    :raises ConfigError: the text names the wrong one and the reason, never its value.
    """
    given = [value] if isinstance(value, (str, Secret)) else value
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, (str, Secret)) for one in given):
        raise ConfigError(name, f"in {where}: it is not a list of strings")
    secrets: dict[Secret, None] = {}
    for number, one in enumerate(given, 1):
        try:
            for secret in [one] if isinstance(one, Secret) else _read(one, read_secret):
                secrets[secret] = None
        except ValueError as error:
            raise ConfigError(name, f"in {where}: secret {number} of {len(given)}: {error}") from None
    return tuple(secrets)


def secrets_of(url: str, hosts: tuple[HostSettings, ...]) -> tuple[Secret, ...]:
    """Return the secrets of an absolute URL's host; a table with its port takes precedence over one without."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    found: tuple[Secret, ...] = ()
    for one in hosts:
        if one.host == parts.hostname and one.port in (None, port):
            if one.port is not None:
                return one.secrets
            found = one.secrets
    return found


def _read(text: str, read_secret: ReadSecret) -> list[Secret]:
    if not is_reference(text):
        return [Secret.from_text(text)]
    texts = read_secret(text).split()
    if not texts:
        raise ValueError("the secret that it refers to is empty")
    return [Secret.from_text(one) for one in texts]
