"""What is wrong with an option of a driver, in words that name the option: a driver's own often do not."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ap4r.redaction import without_credentials


def say_wrong_option(query: Mapping[str, tuple[str, ...] | str], error: BaseException) -> str:
    """Say which option behind the ? of a store's URL a driver refuses, and why, without secrets."""
    said = " ".join(str(error).split())
    blamed = _blamed(query, error, said)
    if isinstance(error, TypeError) and blamed:
        return f"its URL has the option {blamed}, which the driver does not know; spell it otherwise or leave it out"
    where = f"the option {blamed} in its URL" if blamed else "an option in its URL"
    return f"{where} means nothing to the driver: {without_credentials(said)}"


def _blamed(query: Mapping[str, tuple[str, ...] | str], error: BaseException, said: str) -> str | None:
    for name in query:
        if f"'{name}'" in said or f'"{name}"' in said:
            return name
    for name, value in query.items():
        if isinstance(value, str) and value and (f"'{value}'" in said or f'"{value}"' in said):
            return name
    if isinstance(error, OSError):
        for name, value in query.items():
            # An error of the TLS library names no file.
            if name.startswith("ssl") and isinstance(value, str) and "/" in value and not os.access(value, os.R_OK):
                return f"{name}={value}"
        files = [name for name in ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key") if name in query]
        return "/".join(files) or None
    return None
