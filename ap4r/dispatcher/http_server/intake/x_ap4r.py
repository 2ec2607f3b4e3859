"""AP4R's own way to put a message: `POST /queues/NAME` with the header X-AP4R and a raw body. Pure.

The options are those of AP4R 0.3.7 (and of the queue beneath it, reliable-msg), as far as they apply here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ap4r.errors import OptionRefused

#: A comma within a URL does not end it: after a comma that does, a name and = follow.
_BETWEEN = re.compile(r",\s*(?=[A-Za-z_][A-Za-z0-9_-]*\s*=)")
_HEADER = "http_header_"
_MOST = 2**31 - 1
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def read_options(text: str) -> dict[str, Any]:
    """Parse the header into the arguments of `async_to`; `target` is among them.

    :raises OptionRefused: an option is unknown, occurs twice, or is not allowed here; or there is no target_url.
    """
    options: dict[str, Any] = {}
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
                options[meaning] = read_value
        else:
            raise OptionRefused("X-AP4R", name, f"unknown; known are {', '.join(OPTIONS)} and {_HEADER}NAME")
    if "target" not in options:
        raise OptionRefused("X-AP4R", text, "it has no target_url")
    if headers:
        options["headers"] = headers
    return options


def _as_it_is(name: str, value: str) -> str:
    return value


def _http(name: str, value: str) -> None:
    if value.upper() != "HTTP":
        raise OptionRefused("X-AP4R", value, "dispatch_mode is HTTP; others are not available here")


def _number(name: str, value: str) -> float:
    if not _DECIMAL.fullmatch(value):
        raise OptionRefused("X-AP4R", value, f"{name} must be a number in digits, as 60 or 0.5")
    return float(value)


def _count(name: str, value: str) -> int:
    number = _number(name, value)
    if not 1 <= number <= _MOST or number != int(number):
        raise OptionRefused("X-AP4R", value, f"{name} must be a whole number from 1 to {_MOST:,}")
    return int(number)


def _priority(name: str, value: str) -> int:
    number = _number(name, value)
    if number != int(number):
        raise OptionRefused("X-AP4R", value, f"{name} must be a whole number")
    return int(number)


#: An option of AP4R: its name in `async_to` ("" for none), and how it is parsed.
OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "target_url": ("target", _as_it_is),
    "target_method": ("method", _as_it_is),
    "dispatch_mode": ("", _http),
    "delivery": ("delivery", _as_it_is),
    "expires": ("expires_seconds", _number),
    "activates": ("delay_seconds", _number),
    "activates_at": ("deliver_at", _number),
    "max_deliveries": ("max_deliveries", _count),
    "priority": ("priority", _priority),
}
