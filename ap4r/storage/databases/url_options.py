"""Describes what is wrong with an option of a driver, by name: the driver's own text often does not name it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ap4r.redaction import without_credentials


def wrong_option_text(query: Mapping[str, tuple[str, ...] | str], error: BaseException) -> str:
    """Return which option after the ? of a store's URL a driver refuses, and why, without secrets."""
    said = " ".join(str(error).split())
    option = _option_at_fault(query, error, said)
    if isinstance(error, TypeError) and option:
        return f"its URL has the option {option}, which the driver does not know; correct or remove it"
    where = f"the option {option} in its URL" if option else "an option in its URL"
    return f"{where} is not accepted by the driver: {without_credentials(said)}"


def _option_at_fault(query: Mapping[str, tuple[str, ...] | str], error: BaseException, said: str) -> str | None:
    for name in query:
        if f"'{name}'" in said or f'"{name}"' in said:
            return name
    for name, value in query.items():
        if isinstance(value, str) and value and (f"'{value}'" in said or f'"{value}"' in said):
            return name
    if isinstance(error, OSError):
        for name, value in query.items():
            # An error of the TLS library does not name the file.
            if name.startswith("ssl") and isinstance(value, str) and "/" in value and not os.access(value, os.R_OK):
                return f"{name}={value}"
        files = [name for name in ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key") if name in query]
        return "/".join(files) or None
    return None
