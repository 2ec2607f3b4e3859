"""The paths that are internal: open only to verified deliveries, in every spelling that a request may use. Pure.

A path is internal if any reading of it is. Refusing an odd spelling does not affect regular callers; accepting one
could bypass the check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from ap4r.errors import ConfigError
from ap4r.middleware.deliveries.path_reading import MOST_CHARACTERS, Segments, problem_of, readings, segments_of
from ap4r.redaction import shortened

_EVERYTHING = "/*"
_NO_PATH = re.compile(r"[?#]")
#: Most slashes in a SCRIPT_NAME; reading a longer one in every way would take too long.
_MOUNTS = 8
_MOST_REMEMBERED_CHARACTERS = 256
#: The name of a directory's own page, in frameworks that look views up by name.
_INDEX = ("index",)


class PathReading(NamedTuple):
    """The result of reading a path: whether any reading is internal, and why more than one reading is possible."""

    is_internal: bool
    problem: str


class InternalPaths:
    """The paths that a user declared internal: `/jobs/run`, or `/async/*` for `/async` and everything below it."""

    def __init__(self, patterns: Iterable[Any], setting: str = "internal") -> None:
        """Parse the patterns.

        :param setting: the setting's name, for errors.
        :raises ConfigError: a pattern is not a path, has a `*` other than at its end, or cannot match a request's path.
        """
        if isinstance(patterns, str):
            raise ConfigError(setting, f"give a list of paths, [{patterns!r}]")
        self._exact: set[Segments] = set()
        self._below: list[Segments] = []
        self._everything = False
        for pattern in patterns:
            if not isinstance(pattern, str) or not pattern.startswith("/") or "*" in pattern.removesuffix(_EVERYTHING):
                raise ConfigError(setting, f"{shortened(pattern)} must have the form /async/run or /async/*")
            decoded = unquote(pattern.removesuffix(_EVERYTHING))
            if _NO_PATH.search(pattern) or "\\" in decoded or not {".", ".."}.isdisjoint(decoded.split("/")):
                problem = f"{shortened(pattern)} can match no request: a path has no ?, #, \\ and no segments . and .."
                raise ConfigError(setting, problem)
            path = segments_of(decoded)
            if not path and decoded.strip("/"):
                raise ConfigError(setting, f"{shortened(pattern)} has no letter and no digit to identify it by")
            if not pattern.endswith(_EVERYTHING):
                self._exact.update([path, path + _INDEX])
            elif not path:
                self._everything = True
            else:
                self._below.append(path)
        self._remembered = lru_cache(maxsize=4_096)(self._read)

    def __bool__(self) -> bool:
        return self._everything or bool(self._exact or self._below)

    def read(self, path_info: str, script_name: str = "") -> PathReading:
        """Read a request's path, given as PATH_INFO and SCRIPT_NAME (PEP 3333)."""
        # The client chooses the path: only short ones are cached, which bounds the memory.
        if len(path_info) + len(script_name) <= _MOST_REMEMBERED_CHARACTERS:
            return self._remembered(path_info, script_name)
        return self._read(path_info, script_name)

    def contains(self, path_info: str, script_name: str = "") -> bool:
        """Return whether any reading of a request's path is internal."""
        return self.read(path_info, script_name).is_internal

    def _read(self, path_info: str, script_name: str) -> PathReading:
        problem = problem_of(script_name + path_info) or problem_of(path_info)
        return PathReading(self._contains(path_info, script_name), problem)

    def _contains(self, path_info: str, script_name: str) -> bool:
        """Return whether any reading is internal.

        Some servers let a client choose the SCRIPT_NAME (gunicorn by a header of that name), and frameworks route by
        PATH_INFO. So the path is checked behind every part of SCRIPT_NAME, and without it.
        """
        if self._everything or script_name.count("/") > _MOUNTS or len(path_info) + len(script_name) > MOST_CHARACTERS:
            return True
        starts = (match.start() for match in re.finditer("/", script_name))
        paths = {script_name + path_info, path_info, *(script_name[start:] + path_info for start in starts)}
        return any(self._matches(reading) for path in paths for reading in readings(path))

    def _matches(self, path: Segments) -> bool:
        return path in self._exact or any(path[: len(one)] == one for one in self._below)
