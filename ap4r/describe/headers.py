"""The headers that a caller may give a message: names, values and size, checked in the caller's own line.

Pure. The headers that ap4r writes itself are refused, so that a message cannot pretend to be another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ap4r.errors import OptionRefused, PayloadTooLarge
from ap4r.message.message import header_bytes

#: RFC 9110, section 5.6.2; methods have the same form.
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 9110, section 7.6.1, and the older lists it came from; Expect asks for an answer before the body, and the
# dispatcher does not wait for one.
_CONNECTION = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)
_OWN = frozenset({"idempotency-key"})
_OWN_PREFIXES = ("ap4r-", "webhook-")


def check_headers(
    given: Mapping[str, str] | None, added: Iterable[tuple[str, str]], limit: int
) -> tuple[tuple[str, str], ...]:
    """Validate a caller's headers; return them in their order, then those of `added` that were not given.

    :param limit: bytes of all names and values together, in UTF-8.
    :raises OptionRefused: the text names the header, never its value, which may be a secret.
    :raises PayloadTooLarge: when they exceed the limit.
    """
    headers = tuple(added) if given is None else _with_given(given, added)
    size = header_bytes(headers)
    if size > limit:
        raise PayloadTooLarge("the headers of one message", size, limit, "max_header_bytes")
    return headers


def _with_given(given: object, added: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, Mapping):
        raise OptionRefused("headers", type(given).__name__, "headers are a mapping of strings to strings")
    headers: list[tuple[str, str]] = []
    names: set[str] = set()
    for name, value in given.items():
        headers.append((_name(name), _value(name, value)))
        lower = name.lower()
        if lower in names:
            raise OptionRefused("headers", lower, "this name occurs more than once")
        names.add(lower)
    return (*headers, *((name, value) for name, value in added if name.lower() not in names))


def _name(name: object) -> str:
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise OptionRefused("headers", name, "a header's name is made of letters, digits and -")
    # Servers turn - into _ for the handler (CGI), so both spellings of a name arrive as the same name.
    lower = name.lower().replace("_", "-")
    if lower in _CONNECTION:
        raise OptionRefused("headers", name, "the dispatcher sets this header of the connection; remove it")
    if lower in _OWN or lower.startswith(_OWN_PREFIXES):
        raise OptionRefused("headers", name, "ap4r writes it itself; remove it")
    return name


def _value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise OptionRefused("headers", name, f"its value is a string, not a {type(value).__name__}")
    if _CONTROL.search(value):
        raise OptionRefused("headers", name, "its value has a line break or another control character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise OptionRefused("headers", name, "its value cannot be encoded as UTF-8") from error
    return value.strip(" \t")
