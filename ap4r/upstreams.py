"""Who is called and who calls: the tables [upstreams.NAME], [hosts."HOST"] and [senders.NAME] of ap4r.toml. Pure.

A secret belongs to one of them, and signs or verifies for nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ap4r.errors import ConfigError, TargetRefused, shortened
from ap4r.signing import SECRET_PREFIX, Secret
from ap4r.target import APP, parse_target

#: The sender of what our own dispatcher delivers.
OWN_SENDER = "ap4r"
DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REFERENCES = ("env:", "file:")

#: Gives the text that a reference like `env:NAME` or `file:/run/secrets/x` stands for, or raises ValueError.
ReadSecret = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """A named set of interchangeable servers. `host` and `scheme` are what people call them by, where that differs.

    `host` may have a port; empty, like `scheme`, leaves what the connection goes to.
    """

    name: str
    servers: tuple[str, ...] = ()
    host: str = ""
    scheme: str = ""
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """Another host that messages go to by absolute URL. `port` is None for every port of it."""

    host: str
    port: int | None
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """Somebody else who sends Standard Webhooks to this application, with secrets of its own."""

    name: str
    secrets: tuple[Secret, ...]


def parse_upstreams(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[UpstreamSettings, ...]:
    """Read the tables [upstreams.NAME].

    :raises ConfigError: naming the table and what is wrong.
    """
    upstreams = []
    for key, table in _tables(name, where, value).items():
        full = f"{name}.{key}"
        if key != APP:
            raise ConfigError(full, f"in {where}: the only upstream of this version is {APP}")
        _only(full, where, table, ("servers", "host", "scheme", "secrets"))
        host = table.get("host", "")
        scheme = table.get("scheme", "")
        if "scheme" in table and scheme not in tuple(DEFAULT_PORTS):
            raise ConfigError(f"{full}.scheme", f"in {where}: {shortened(scheme)} is not one of http, https")
        upstreams.append(
            UpstreamSettings(
                name=key,
                servers=_servers(f"{full}.servers", where, table.get("servers", ())),
                host=_host_and_port(f"{full}.host", where, host) if "host" in table else "",
                scheme=str(scheme),
                secrets=parse_secrets(f"{full}.secrets", where, table.get("secrets", ()), read_secret),
            )
        )
    return tuple(upstreams)


def parse_hosts(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[HostSettings, ...]:
    """Read the tables [hosts."HOST"], HOST with or without a port.

    :raises ConfigError: naming the table and what is wrong.
    """
    hosts = []
    for key, table in _tables(name, where, value).items():
        full = f"{name}.{key}"
        _only(full, where, table, ("secrets",))
        parts = urlsplit("//" + _host_and_port(full, where, key))
        secrets = parse_secrets(f"{full}.secrets", where, table.get("secrets", ()), read_secret)
        hosts.append(HostSettings(host=parts.hostname or "", port=parts.port, secrets=secrets))
    return tuple(hosts)


def parse_senders(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[SenderSettings, ...]:
    """Read the tables [senders.NAME]; as an argument also `{"NAME": ["whsec_…"]}`.

    :raises ConfigError: naming the table and what is wrong.
    """
    if isinstance(value, Mapping):
        value = {key: {"secrets": of} if isinstance(of, (str, list, tuple)) else of for key, of in value.items()}
    senders = []
    for key, table in _tables(name, where, value).items():
        full = f"{name}.{key}"
        _only(full, where, table, ("secrets",))
        if not _NAME.fullmatch(key) or key == OWN_SENDER:
            raise ConfigError(full, f"in {where}: a sender's name is of a-z, 0-9, ., _ and -, and not {OWN_SENDER}")
        secrets = parse_secrets(f"{full}.secrets", where, table.get("secrets", ()), read_secret)
        if not secrets:
            raise ConfigError(full, f"in {where}: without secrets nothing of this sender could be verified")
        senders.append(SenderSettings(name=key, secrets=secrets))
    return tuple(senders)


def parse_secrets(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[Secret, ...]:
    """Read secrets, each `whsec_…` or a reference to one or several, in their order and without repeats.

    :raises ConfigError: saying which is wrong and why, never what it is.
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


def refuse_reference(reference: str) -> str:
    """Read no reference: what a pure parse does."""
    raise ValueError(f"{reference.partition(':')[0]}: cannot be read here")


def secrets_of(url: str, hosts: tuple[HostSettings, ...]) -> tuple[Secret, ...]:
    """Give the secrets that belong to an absolute URL's host; a table with its very port goes before one without."""
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
    if not text.startswith(_REFERENCES):
        return [Secret.from_text(text)]
    texts = read_secret(text).split()
    if not texts:
        raise ValueError("what it refers to is empty")
    return [Secret.from_text(one) for one in texts]


def _tables(name: str, where: str, value: object) -> Mapping[str, Mapping[str, Any]]:
    if value == ():
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(name, f"in {where}: it is a table of tables, [{name}.NAME]")
    for key, table in value.items():
        if isinstance(key, str) and SECRET_PREFIX in key:
            raise ConfigError(name, f"in {where}: a table is named by a name, not by a secret")
        if not isinstance(key, str) or not isinstance(table, Mapping):
            raise ConfigError(name, f"in {where}: {shortened(key)} is not a table; write [{name}.{shortened(key)}]")
    return value


def _only(name: str, where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{name}.{shortened(key)}", f"in {where}: unknown; known are {', '.join(known)}")


def _servers(name: str, where: str, value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(name, f"in {where}: it is not a list of strings")
    return tuple(server_url(name, text) for text in texts)


def server_url(name: str, url: str) -> str:
    """Give a server's URL in canonical form.

    :raises ConfigError: it is no http or https URL of a server.
    """
    if not url.lower().startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise ConfigError(name, f"{shortened(url)} is not of the form http://host:port")
    try:
        return parse_target(url)[0].url.rstrip("/")
    except TargetRefused as error:
        raise ConfigError(name, f"{shortened(url)}: {error.problem}") from error


def _host_and_port(name: str, where: str, text: object) -> str:
    """Give `host` or `host:port` in canonical form, a port only where one was given."""
    if not isinstance(text, str) or not text or re.search(r"[/?#@\s]", text):
        raise ConfigError(name, f"in {where}: {shortened(text)} is not of the form shop.example.com, or with a port")
    try:
        # The scheme whose default port this is not, so that the port stays.
        scheme = "https" if text.endswith(":80") else "http"
        return urlsplit(parse_target(f"{scheme}://{text}")[0].url).netloc
    except TargetRefused as error:
        raise ConfigError(name, f"in {where}: {shortened(text)}: {error.problem}") from error
