"""The URL of a store: what kind of store it names, and for a file the path in full."""

from __future__ import annotations

import os

from ap4r.errors import ConfigError

#: How the URL of a dispatcher's intake begins, where one stands in the place of a store.
INTAKE_SCHEMES = ("http://", "https://", "http+unix://")
SQLITE = "sqlite:///"  #: how the URL of a file begins


def absolute_store(url: str, folder: str, setting: str = "store") -> str:
    """Make an SQLite path absolute, counted from `folder`; leave every other URL alone.

    :raises ConfigError: it names no file, or is no URL at all.
    """
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise ConfigError(setting, "it is no URL; a file is written sqlite:///ap4r.db, or sqlite:////srv/ap4r.db")
    if scheme.lower().partition("+")[0] != "sqlite":
        return url
    path, question_mark, query = url.removeprefix(SQLITE).partition("?")
    if not url.startswith(SQLITE) or not path or path == ":memory:" or path.endswith("/"):
        raise ConfigError(setting, f"{url} names no file; write sqlite:///ap4r.db, or sqlite:////srv/ap4r.db")
    if path.startswith("file:"):
        raise ConfigError(setting, f"{url}: leave out the file:")
    absolute = os.path.abspath(os.path.join(folder, path))
    if "?" in absolute:
        raise ConfigError(setting, f"{absolute} has a ?, which no store's URL can have in its path; use another folder")
    return SQLITE + absolute + question_mark + query
