"""References to secrets (`env:NAME`, `file:PATH`), credentials of servers, and the tokens of the intake."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import abspath, join
from pathlib import Path

from ap4r.errors import ConfigError
from ap4r.redaction import shortened

REFERENCES = ("env", "file")  #: the part before the colon

#: Returns the secret of a reference like `env:NAME` or `file:/run/secrets/x`, or raises ValueError.
ReadSecret = Callable[[str], str]


def is_reference(text: str) -> bool:
    """Return whether a text is a reference, and not the value itself."""
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind in REFERENCES


def read_reference(environ: Mapping[str, str], folder: Path, reference: str) -> str:
    """Read the secret of a reference; a relative path counts from `folder`.

    :raises ValueError: it does not exist. The text names the reference only.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        if name not in environ:
            raise ValueError(f"the variable {shortened(name)} is not set")
        return environ[name]
    try:
        return (folder / name).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"the file {shortened(name)} cannot be read: {why}") from None


def in_folder(text: str, folder: str) -> str:
    """Return a reference to a file with an absolute path; other texts are returned unchanged."""
    kind, colon, path = text.partition(":")
    return f"file:{abspath(join(folder, path))}" if colon and kind == "file" and path else text


def refuse_reference(reference: str) -> str:
    """Refuse every reference, as a pure parse does."""
    raise ValueError(f"{reference.partition(':')[0]}: cannot be read here")


_KINDS = ("basic", "bearer")
_FORMS = "basic:env:NAME, basic:file:PATH, bearer:env:NAME or bearer:file:PATH"


@dataclass(frozen=True, slots=True)
class Credential:
    """A kind of authentication and a reference to its secret. Web processes pass it on without reading it."""

    name: str  #: of the setting, for errors
    kind: str
    reference: str
    read: ReadSecret = field(repr=False, compare=False)

    def header(self) -> bytes:
        """Read the secret and return the value of Authorization or Proxy-Authorization (RFC 7617, RFC 6750).

        :raises ConfigError: it does not exist, or is not such a secret. The text names the reference only.
        """
        try:
            secret = self.read(self.reference).strip()
        except ValueError as error:
            raise ConfigError(self.name, str(error)) from None
        if not secret or any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in secret):
            raise ConfigError(self.name, f"the secret of {self.reference} is empty or has several lines")
        if self.kind == "basic":
            if ":" not in secret:
                raise ConfigError(self.name, f"the secret of {self.reference} is not of the form user:password")
            return b"Basic " + base64.b64encode(secret.encode())
        if not secret.isascii() or " " in secret:
            problem = "is not a token: it has spaces or is not ASCII"
            raise ConfigError(self.name, f"the secret of {self.reference} {problem}")
        return b"Bearer " + secret.encode()


def parse_credential(name: str, where: str, value: object, read: ReadSecret) -> Credential | None:
    """Parse a credential such as `basic:env:NAME`; empty is None.

    :raises ConfigError: it is something else. The value is not shown: it may be the secret itself.
    """
    if value == "":
        return None
    kind, _, reference = value.partition(":") if isinstance(value, str) else ("", "", "")
    source, _, place = reference.partition(":")
    if kind not in _KINDS or source not in REFERENCES or not place or not place.isprintable():
        raise ConfigError(name, f"in {where}: give a reference to the secret, {_FORMS}")
    return Credential(name, kind, reference, read)


_LEAST_CHARACTERS = 16
_MAKE_ONE = "create one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def read_tokens(given: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the tokens; a reference `env:NAME` or `file:PATH` may hold several, separated by spaces or lines.

    In loaded settings, files have absolute paths.

    :raises ConfigError: the secret of a reference is missing, or a token is too short; its text is never shown.
    """
    tokens: list[str] = []
    for text in given:
        for token in _found(text, os.environ if environ is None else environ).split():
            if len(token) < _LEAST_CHARACTERS or not token.isascii():
                problem = f"a token has at least {_LEAST_CHARACTERS} characters, all of them ASCII"
                raise ConfigError("intake_token", f"{problem}; {_MAKE_ONE}")
            tokens.append(token)
    if given and not tokens:
        raise ConfigError("intake_token", f"the secret that it refers to is empty; {_MAKE_ONE}")
    return tuple(dict.fromkeys(tokens))


def _found(text: str, environ: Mapping[str, str]) -> str:
    if not is_reference(text):
        return text
    try:
        return read_reference(environ, Path.cwd(), text)
    except ValueError as error:
        raise ConfigError("intake_token", str(error)) from None
