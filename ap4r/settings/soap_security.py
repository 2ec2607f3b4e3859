"""The descriptions and the security of SOAP calls: the tables [wsdl_copies] and [wsse.NAME] of ap4r.toml. Pure.

The secrets stay in the dispatcher's settings; a message names the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os.path import abspath, join
from typing import Any

from ap4r.errors import ConfigError
from ap4r.redaction import shortened
from ap4r.settings.fields import MOST, named_tables, only_known, text_of
from ap4r.settings.secrets import ReadSecret, is_reference

SECURITY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEYS = ("username", "password", "digest", "timestamp_seconds", "key", "certificate", "key_password")
_FILES = ("key", "certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapSecurity:
    """The content of an envelope's header Security: a UsernameToken, a Timestamp, a signature, or several of them.

    `digest` sends the password as a digest with a nonce. `timestamp_seconds` is how long the envelope is valid; 0
    sends no Timestamp. `key` and `certificate` are files in PEM, and sign the body (and the Timestamp). `password` and
    `key_password` are references to secrets; web processes pass them on without reading them.
    """

    name: str
    read: ReadSecret = field(repr=False, compare=False)
    username: str = ""
    password: str = ""
    digest: bool = False
    timestamp_seconds: float = 0.0
    key: str = ""
    certificate: str = ""
    key_password: str = ""

    def facts(self) -> dict[str, Any]:
        """Return everything that the header is built from, secrets included, as plain values.

        :raises ConfigError: a secret is missing. The text names the reference only.
        """
        facts: dict[str, Any] = {key: getattr(self, key) for key in _KEYS}
        for key in ("password", "key_password"):
            try:
                facts[key] = self.read(facts[key]).strip() if facts[key] else ""
            except ValueError as error:
                raise ConfigError(f"wsse.{self.name}.{key}", str(error)) from None
        return facts

    def in_folder(self, folder: str) -> SoapSecurity:
        """Return a copy with absolute paths of its files; relative ones count from `folder`."""
        files: dict[str, Any] = {
            name: abspath(join(folder, getattr(self, name))) for name in _FILES if getattr(self, name)
        }
        return replace(self, **files) if files else self


def parse_soap_security(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[SoapSecurity, ...]:
    """Parse the tables [wsse.NAME].

    :raises ConfigError: the text names the table and says what is wrong.
    """
    return tuple(
        _security(f"{name}.{key}", where, key, table, read_secret)
        for key, table in named_tables(name, where, value).items()
    )


def parse_wsdl_copies(name: str, where: str, value: object, read_secret: ReadSecret) -> tuple[tuple[str, str], ...]:
    """Parse the table [wsdl_copies]: a file for each URL.

    :raises ConfigError: the text says what is wrong.
    """
    if isinstance(value, tuple) and all(isinstance(one, tuple) and len(one) == 2 for one in value):
        value = dict(value)  # a result of this function
    if not isinstance(value, Mapping):
        raise ConfigError(name, f'in {where}: it must be a table, [{name}], of lines "http://…" = "file"')
    for url in value:
        text_of(name, where, value, url)
        if not url.startswith(("http://", "https://")):
            raise ConfigError(name, f"in {where}: {shortened(url)} is not a URL that begins with http:// or https://")
    return tuple(value.items())


def _security(full: str, where: str, name: str, table: Mapping[str, Any], read_secret: ReadSecret) -> SoapSecurity:
    if not SECURITY_NAME.fullmatch(name):
        raise ConfigError(full, f"in {where}: the name is of a-z, 0-9, ., _ and -")
    only_known(full, where, table, _KEYS)
    texts = {key: text_of(full, where, table, key) for key in ("username", *_FILES)}
    secrets = {key: _reference(full, where, table, key) for key in ("password", "key_password")}
    digest, seconds = table.get("digest", False), table.get("timestamp_seconds", 0)
    if not isinstance(digest, bool):
        raise ConfigError(f"{full}.digest", f"in {where}: it is neither true nor false")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= MOST:
        raise ConfigError(f"{full}.timestamp_seconds", f"in {where}: it is not a number of seconds from 0")
    if bool(texts["username"]) != bool(secrets["password"]):
        raise ConfigError(full, f"in {where}: give username and password together")
    if bool(texts["key"]) != bool(texts["certificate"]):
        raise ConfigError(full, f"in {where}: give key and certificate together")
    if not texts["username"] and not texts["key"] and not seconds:
        advice = "give username and password, key and certificate, or timestamp_seconds"
        raise ConfigError(full, f"in {where}: it has no effect; {advice}")
    return SoapSecurity(
        name=name, read=read_secret, digest=digest, timestamp_seconds=float(seconds), **texts, **secrets
    )


def _reference(full: str, where: str, table: Mapping[str, Any], key: str) -> str:
    text = table.get(key, "")
    if text != "" and not (isinstance(text, str) and text.isprintable() and is_reference(text)):
        # The value is not shown: it may be the secret itself.
        raise ConfigError(f"{full}.{key}", f"in {where}: give a reference to the secret, env:NAME or file:PATH")
    return str(text)
