"""The tokens of the intake, as the setting `intake_token` gives them or says where they are.

They are read where they are used, so that settings hold no more than a reference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ap4r.errors import ConfigError
from ap4r.reference import is_reference, read_reference

_LEAST_CHARACTERS = 16
_MAKE_ONE = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def read_tokens(given: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the tokens; a reference `env:NAME` or `file:PATH` may stand for several, with blanks or lines between.

    Settings that were loaded name files by absolute paths.

    :raises ConfigError: a reference leads nowhere, or a token is too short; its text is never told.
    """
    tokens: list[str] = []
    for text in given:
        for token in _found(text, os.environ if environ is None else environ).split():
            if len(token) < _LEAST_CHARACTERS or not token.isascii():
                problem = f"a token has at least {_LEAST_CHARACTERS} characters, all of them ASCII"
                raise ConfigError("intake_token", f"{problem}; {_MAKE_ONE}")
            tokens.append(token)
    if given and not tokens:
        raise ConfigError("intake_token", f"what it refers to is empty; {_MAKE_ONE}")
    return tuple(dict.fromkeys(tokens))


def _found(text: str, environ: Mapping[str, str]) -> str:
    if not is_reference(text):
        return text
    try:
        return read_reference(environ, Path.cwd(), text)
    except ValueError as error:
        raise ConfigError("intake_token", str(error)) from None
