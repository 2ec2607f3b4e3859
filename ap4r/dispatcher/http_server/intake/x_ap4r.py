"""AP4R's own way to put a message: `POST /queues/NAME` with the header X-AP4R and a raw body. Pure.

The options are those of AP4R 0.3.7 (and of the queue beneath it, reliable-msg), as far as they apply here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ap4r.describe import options
from ap4r.errors import OptionRefused

#: A comma within a URL does not end it: after a comma that does, a name and = follow.
_BETWEEN = re.compile(r",\s*(?=[A-Za-z_][A-Za-z0-9_-]*\s*=)")
_HEADER = "http_header_"


def read_options(text: str) -> dict[str, Any]:
    """Parse the header into the arguments of `async_to`; `target` is among them.

    :raises OptionRefused: an option is unknown, occurs twice, or is not allowed here; or there is no target_url.
    """
    given: dict[str, Any] = {}
    headers: dict[str, str] = {}
    seen: set[str] = set()
    for part in _BETWEEN.split(text.strip().rstrip(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise OptionRefused("X-AP4R", part, "options are written name=value, with commas between them")
        if name in seen:
            raise OptionRefused("X-AP4R", name, "it occurs twice")
        seen.add(name)
        if name.startswith(_HEADER):
            headers[name.removeprefix(_HEADER).replace("_", "-")] = value
        elif name in OPTIONS:
            meaning, read = OPTIONS[name]
            read_value = read(name, value)
            if meaning:
                given[meaning] = read_value
        else:
            raise OptionRefused("X-AP4R", name, f"unknown; known are {', '.join(OPTIONS)} and {_HEADER}NAME")
    if "target" not in given:
        raise OptionRefused("X-AP4R", text, "it has no target_url")
    if headers:
        given["headers"] = headers
    return given


def _http(name: str, value: str) -> None:
    if value.upper() != "HTTP":
        raise OptionRefused("X-AP4R", value, "dispatch_mode is HTTP; others are not available here")


def _text(name: str, value: str) -> str:
    return value


#: An option of AP4R: its name in `async_to` ("" for none), and how it is parsed.
OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "target_url": ("target", _text),
    "dispatch_mode": ("", _http),
    **{option.x_ap4r: (option.name, option.kind.from_text) for option in options.OPTIONS if option.x_ap4r},
}
