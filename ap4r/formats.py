"""Write `params` as the bytes of a request: form with AP4R's nested brackets, JSON, text, or raw.

Pure. What cannot be written is refused here, in the caller's own line, never later.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus

from ap4r.errors import OptionRefused, PayloadNotEncodable, shortened

FORMATS = ("form", "json", "text", "raw")
MAX_DEPTH = 64  #: PHP reads no more levels of a form
_CONTENT_TYPES = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "raw": "application/octet-stream",
}


def encode_params(params: object, format: str) -> tuple[bytes, str | None]:
    """Write `params` in a format; return the body and its content type (None when `params` is None).

    A str or bytes is sent as it is: with the format's content type for json (which it must be already), text and raw,
    and for the default form as text/plain or application/octet-stream.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises OptionRefused: when the format is unknown.
    """
    if format not in FORMATS:
        raise OptionRefused("format", format, f"one of {', '.join(FORMATS)}")
    if params is None:
        return b"", None
    if format == "json" and isinstance(params, (str, bytes, bytearray, memoryview)):
        return _checked_json(params), _CONTENT_TYPES["json"]
    if isinstance(params, str):
        return _text(params, "params", format).encode(), _CONTENT_TYPES["text" if format == "form" else format]
    if isinstance(params, (bytes, bytearray, memoryview)):
        return bytes(params), _CONTENT_TYPES["raw" if format == "form" else format]
    if format == "json":
        plain = _plain(params, "", 0)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(), _CONTENT_TYPES["json"]
    if format == "form" and isinstance(params, Mapping):
        return encode_form(params).encode("ascii"), _CONTENT_TYPES["form"]
    advice = "give a mapping, or another format" if format == "form" else "give a str or bytes, or format='json'"
    raise PayloadNotEncodable("params", params, format, advice)


def _checked_json(params: str | bytes | bytearray | memoryview) -> bytes:
    body = _text(params, "params", "json").encode() if isinstance(params, str) else bytes(params)
    try:
        json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        advice = f"a str or bytes must be JSON already ({error}); to send a string, give json.dumps(text)"
        raise PayloadNotEncodable("params", params, "json", advice) from error
    return body


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number there")


def encode_form(params: Mapping[Any, object]) -> str:
    """Write a mapping as a form, nested the way AP4R, Rails and PHP read it: `a[b]=1&tags[]=x&tags[]=y`.

    None is written as an empty value, True and False as true and false; an empty mapping or list leaves no trace.
    A list of mappings is written as Rails does, `items[][id]=1&items[][id]=2`, where it can be read back. What would
    be read back as something else is refused: lists of lists, brackets in nested keys.
    A mapping with several values a name (werkzeug's MultiDict, Django's QueryDict) is written flat, as it was read.

    :raises PayloadNotEncodable: naming the key whose value cannot be written.
    """
    lists = getattr(params, "lists", None)
    pairs = _pairs(params, "", 0) if lists is None else _flat_pairs(lists())
    return "&".join(f"{_quote(name)}={_quote(value)}" for name, value in pairs)


def _flat_pairs(lists: Iterable[tuple[str, Iterable[object]]]) -> Iterator[tuple[str, str]]:
    for key, values in lists:
        name = _text(key, _key_place(key, ""), "form")
        for value in values:
            yield name, _form_value(value, name)


def _pairs(value: object, name: str, depth: int) -> Iterator[tuple[str, str]]:
    _check_depth(value, name, depth, "form")
    if isinstance(value, Mapping):
        for key, inner in _items(value, name, "form"):
            nests = isinstance(inner, (Mapping, list, tuple))
            if not key or ((name or nests) and ("[" in key or "]" in key)):
                advice = "an empty one, or one with brackets, would be read back as something else"
                raise PayloadNotEncodable(_key_place(key, name), key, "form", advice)
            yield from _pairs(inner, f"{name}[{key}]" if name else key, depth + 1)
    elif isinstance(value, (list, tuple)):
        if any(isinstance(inner, Mapping) for inner in value):
            _check_records(value, f"{name}[]")
            for inner in value:
                yield from _pairs(inner, f"{name}[]", depth + 1)
            return
        for inner in value:
            if isinstance(inner, (list, tuple)):
                advice = "a list in a form holds no other list; use format='json'"
                raise PayloadNotEncodable(_place(f"{name}[]"), inner, "form", advice)
            yield f"{name}[]", _form_value(inner, f"{name}[]")
    else:
        yield name, _form_value(value, name)


def _check_records(records: Iterable[object], name: str) -> None:
    """Refuse a list of mappings in which a reader (Rack, and so Rails) could not see where the next one begins.

    It begins where a key comes again: so all must begin with the same key, and that with a plain value.
    """
    firsts = []
    for record in records:
        first = next(iter(record.items()), None) if isinstance(record, Mapping) else None
        firsts.append(None if first is None or isinstance(first[1], (Mapping, list, tuple)) else first[0])
        if firsts[-1] is None or firsts[-1] != firsts[0]:
            advice = "the mappings of a list must all begin with the same key and a plain value; or use format='json'"
            raise PayloadNotEncodable(_place(name), record, "form", advice)


def _form_value(value: object, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID) or (isinstance(value, decimal.Decimal) and value.is_finite()):
        return str(value)
    plain = _scalar(value, name, "form")
    return plain if isinstance(plain, str) else repr(plain)


def _plain(value: object, name: str, depth: int) -> Any:
    """Copy a value into what JSON has: dict with str keys, list, str, int, float, bool, None."""
    _check_depth(value, name, depth, "json")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {
            key: _plain(inner, f"{name}[{key}]" if name else key, depth + 1)
            for key, inner in _items(value, name, "json")
        }
    if isinstance(value, (list, tuple)):
        return [_plain(inner, f"{name}[{index}]", depth + 1) for index, inner in enumerate(value)]
    return _scalar(value, name, "json")


def _scalar(value: object, name: str, format: str) -> str | int | float:
    # A subclass is written as the value that it is: an enum's name, or whatever its __str__ says, means nothing there.
    if isinstance(value, str):
        return _text(value, _place(name), format)
    if isinstance(value, int):
        try:
            int.__repr__(value)
        except ValueError as error:
            raise PayloadNotEncodable(_place(name), value, format, "it has too many digits; send it as text") from error
        return int.__int__(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float.__pos__(value)
        raise PayloadNotEncodable(_place(name), value, format, f"{value!r} is no number there")
    raise PayloadNotEncodable(_place(name), value, format)


def _items(mapping: Mapping[Any, object], name: str, format: str) -> Iterator[tuple[str, object]]:
    """Give the items with their keys as text: a str or an int, never two that are written alike."""
    if hasattr(mapping, "lists"):
        raise PayloadNotEncodable(_place(name), mapping, format, "it may hold several values a name; give a plain dict")
    seen = set()
    for key, inner in mapping.items():
        if isinstance(key, str):
            written = _text(key, _key_place(key, name), format)
        elif isinstance(key, int) and not isinstance(key, bool):
            written = str(_scalar(key, f"{name}[…]", format))
        else:
            raise PayloadNotEncodable(_key_place(key, name), key, format, "a key is a string or a whole number")
        if written in seen:
            raise PayloadNotEncodable(_key_place(key, name), key, format, "another key is written in the same way")
        seen.add(written)
        yield written, inner


def _text(text: str, where: str, format: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PayloadNotEncodable(where, text, format, "it has a lone surrogate, which no encoding knows") from error
    return str.__str__(text)


def _check_depth(value: object, name: str, depth: int, format: str) -> None:
    if depth > MAX_DEPTH:
        advice = f"it is nested deeper than {MAX_DEPTH}, or holds itself"
        raise PayloadNotEncodable(_place(name), value, format, advice)


def _place(name: str) -> str:
    return f"params {name}"[:200].rstrip()


def _key_place(key: object, name: str) -> str:
    return f"the key {shortened(key, 80)} of {_place(name)}"


def _quote(text: str) -> str:
    # AP4R wrote brackets as they are, and every server reads them so.
    return quote_plus(text, safe="[]*-._")
