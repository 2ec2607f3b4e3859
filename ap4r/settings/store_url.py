"""The URL of a store: its kind, and for a file the full path."""

from __future__ import annotations

import os

from ap4r.errors import ConfigError

#: The beginning of the URL of a dispatcher's intake, if one is used instead of a store.
INTAKE_SCHEMES = ("http://", "https://", "http+unix://")
SQLITE = "sqlite:///"  #: the beginning of the URL of a file


def absolute_store(url: str, folder: str, setting: str = "store") -> str:
    """Return a URL with an absolute SQLite path, counted from `folder`; return every other URL unchanged.

    :raises ConfigError: it names no file, or is not a URL.
    """
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise ConfigError(setting, "it is not a URL; for a file, write sqlite:///ap4r.db, or sqlite:////srv/ap4r.db")
    if scheme.lower().partition("+")[0] != "sqlite":
        return url
    path, question_mark, query = url.removeprefix(SQLITE).partition("?")
    if not url.startswith(SQLITE) or not path or path == ":memory:" or path.endswith("/"):
        raise ConfigError(setting, f"{url} names no file; write sqlite:///ap4r.db, or sqlite:////srv/ap4r.db")
    if path.startswith("file:"):
        raise ConfigError(setting, f"{url}: remove the file:")
    absolute = os.path.abspath(os.path.join(folder, path))
    if "?" in absolute:
        raise ConfigError(setting, f"{absolute} has a ?, which no store's URL can have in its path; use another folder")
    return SQLITE + absolute + question_mark + query
