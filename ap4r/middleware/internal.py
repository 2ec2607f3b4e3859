"""Which paths are internal: open to verified deliveries only, however a request spells them. Pure.

An application may read a path in more ways than one. A path is internal when any of these readings is: refusing an
odd spelling costs nobody anything, letting one in would open the door.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from ap4r.errors import ConfigError
from ap4r.redaction import shortened

_EVERYTHING = "/*"
_INVISIBLE = re.compile(r"[\x00-\x20\x7f]+")
_SLASHES = re.compile(r"/{2,}")
_NO_PATH = re.compile(r"[?#]")
_PARAMETERS = re.compile(r";[^/]*")
# A whole URL as the target of a request, and what Twisted makes of one: it takes the first letter for a slash.
_ABSOLUTE = re.compile(r"\A/?(?:[a-z][a-z0-9+.-]*:)?//[^/]*")
#: How often a path may be percent-encoded over and over and still be understood; servers decode once.
_DECODINGS = 3
#: How many slashes an honest SCRIPT_NAME may have; reading a longer one in every way would take long.
_MOUNTS = 8


class InternalPaths:
    """The paths that a user declared internal: `/jobs/run`, or `/async/*` for `/async` and everything below it."""

    def __init__(self, patterns: Iterable[Any], setting: str = "internal") -> None:
        """Read the patterns.

        :param setting: what they are called in errors.
        :raises ConfigError: one is no path, has a `*` elsewhere than at its end, or has what no request's path has.
        """
        if isinstance(patterns, str):
            raise ConfigError(setting, f"give a list of paths, [{patterns!r}]")
        self._exact: set[str] = set()
        self._below: list[str] = []
        self._everything = False
        for pattern in patterns:
            if not isinstance(pattern, str) or not pattern.startswith("/") or "*" in pattern.removesuffix(_EVERYTHING):
                raise ConfigError(setting, f"{shortened(pattern)} is not of the form /async/run or /async/*")
            decoded = unquote(pattern.removesuffix(_EVERYTHING))
            if _NO_PATH.search(pattern) or "\\" in decoded or not {".", ".."}.isdisjoint(decoded.split("/")):
                problem = (
                    f"{shortened(pattern)} would match no request: a path has no ?, #, \\ and no segments . and .."
                )
                raise ConfigError(setting, problem)
            path = _plain(decoded)
            if not pattern.endswith(_EVERYTHING):
                self._exact.add(path)
            elif path == "/":
                self._everything = True
            else:
                self._below.append(path)
        self.contains = lru_cache(maxsize=4_096)(self._contains)

    def __bool__(self) -> bool:
        return self._everything or bool(self._exact or self._below)

    def _contains(self, path_info: str, script_name: str = "") -> bool:
        """Tell whether a request, whose path PEP 3333 spells as these two, may be read as one to an internal path.

        Servers let a client choose the SCRIPT_NAME (gunicorn by a header of that name), and frameworks route by
        PATH_INFO. So the path counts behind every part of SCRIPT_NAME, and without it.
        """
        if self._everything or script_name.count("/") > _MOUNTS:
            return True
        starts = (match.start() for match in re.finditer("/", script_name))
        paths = {script_name + path_info, path_info, *(script_name[start:] + path_info for start in starts)}
        return any(self._matches(reading) for path in paths for reading in readings(path))

    def _matches(self, path: str) -> bool:
        return path in self._exact or any(path == one or path.startswith(one + "/") for one in self._below)


def readings(path: str) -> Iterator[str]:
    """Give every way in which an application may read a path: in lower case, without a slash at the end."""
    text = path.encode("latin-1", "replace").decode("utf-8", "replace")
    for _ in range(_DECODINGS):
        yield from _readings_of_decoded(text)
        decoded = unquote(text)
        if decoded == text:
            return
        text = decoded


def _readings_of_decoded(text: str) -> Iterator[str]:
    text = _INVISIBLE.sub("", text.casefold()).replace("\\", "/")
    for reading in {text, _ABSOLUTE.sub("", text)}:
        for plain in {reading, _PARAMETERS.sub("", reading)}:
            yield _plain(plain)
            yield _plain(_resolved(plain))
            yield _plain(_resolved(_SLASHES.sub("/", plain)))


def _plain(path: str) -> str:
    """Give a path with one slash at its beginning, none doubled, none at its end but that of the root."""
    return "/" + _SLASHES.sub("/", _INVISIBLE.sub("", path.casefold())).strip("/")


def _resolved(path: str) -> str:
    """Resolve the segments . and .. (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)
