"""Forms (application/x-www-form-urlencoded), nested with brackets as AP4R, Rails and PHP parse them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus

from ap4r.errors import PayloadNotEncodable
from ap4r.formats.plain_values import plain, text_of
from ap4r.formats.size_limit import UNLIMITED, SizeLimit
from ap4r.formats.value_path import ValuePath

_UNRESERVED = re.compile(r"[A-Za-z0-9_.*-]*")  #: written as it is
#: Names and values that are all unreserved, if every = and & is a separator.
_UNQUOTED = re.compile(r"[A-Za-z0-9_.*=&-]*")
_LARGE = 2**63  #: far below the size at which Python refuses to write a number
_MOST_GROWTH = 3  #: times the bytes of a text, if each is written as %XX
#: How `quote_plus` writes each character of ASCII. AP4R wrote brackets unescaped, and every server parses them.
_QUOTED = str.maketrans({chr(code): quote_plus(chr(code), safe="[]*-._") for code in range(128)})
CONTENT_TYPE = "application/x-www-form-urlencoded"
_Pair = tuple[str, Any, ValuePath]
#: The keys that lead to a value, the nearest outermost; "" for an item of a list.
_Steps = tuple[Any, ...]


def nested_form(params: object, limit: SizeLimit) -> tuple[bytes, str]:
    """Write a mapping, a dataclass or an attrs object as a form; return it with its content type.

    :raises PayloadNotEncodable: as `encode_form` does, or `params` has no names.
    :raises PayloadTooLarge: it has more than the limit.
    """
    written = limit.again()
    fields: list[str] = []
    for name, value, _ in pairs_of(params, "form", limit):
        # Before it is quoted, which may make it many times longer.
        written.check(len(name) + len(value))
        field = f"{_quote(name)}={_quote(value)}"
        written.take(len(field) + bool(fields))
        fields.append(field)
    return "&".join(fields).encode(), CONTENT_TYPE


def flat_form(params: object, most_bytes: int) -> bytes | None:
    """Write the plainest forms, as most are: text and integers by name. Return None for all others.

    :raises PayloadTooLarge: it surely has more than `most_bytes`.
    """
    if type(params) is not dict or not params:
        return None
    pairs, size = [], 0
    for name, value in params.items():
        if type(name) is not str or not name:
            return None
        if type(value) is not str:
            if type(value) is not int or not -_LARGE < value < _LARGE:
                return None
            value = repr(value)
        size += len(name) + len(value)
        pairs.append((name, value))
    size += 2 * len(pairs) - 1  # with each = and &
    if size > most_bytes:
        SizeLimit(most_bytes).check(size)
    text = "&".join([f"{name}={value}" for name, value in pairs])
    if _UNQUOTED.fullmatch(text) and text.count("=") == len(pairs) and text.count("&") == len(pairs) - 1:
        return text.encode()
    try:
        if len(text.encode()) * _MOST_GROWTH > most_bytes:
            return None  # it is counted while it is quoted
    except UnicodeEncodeError:
        return None
    return "&".join([f"{_quote(name)}={_quote(value)}" for name, value in pairs]).encode()


def encode_form(params: Mapping[Any, object], most_bytes: int = UNLIMITED) -> str:
    """Write a mapping as a form, nested the way AP4R, Rails and PHP parse it: `a[b]=1&tags[]=x&tags[]=y`.

    None is written as an empty value, True and False as true and false; an empty mapping or list writes nothing.
    A list of mappings is written as Rails does, `items[][id]=1&items[][id]=2`, if it can be parsed back. Values that
    would be parsed as something else are refused: lists of lists, brackets in nested keys.
    A mapping with several values a name (werkzeug's MultiDict, Django's QueryDict) is written flat, as it was read.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises PayloadTooLarge: as soon as it would have more than `most_bytes`.
    """
    flat = flat_form(params, most_bytes)
    return (nested_form(params, SizeLimit(most_bytes))[0] if flat is None else flat).decode("ascii")


def pairs_of(params: object, format: str, limit: SizeLimit, keep: tuple[type, ...] = ()) -> Iterator[_Pair]:
    """Yield names and values in their order, and the path of each: values are text, or of a type in `keep`.

    :param limit: counts the given values; the caller counts what it writes, in which a name may occur many times.
    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises PayloadTooLarge: it has more than the limit.
    """
    place = ValuePath()
    lists = getattr(params, "lists", None) if isinstance(params, Mapping) else None
    if lists is not None:
        for key, values in lists():
            name = text_of(key, place.key(key), format)
            for index, value in enumerate(values):
                here = place / name / index
                yield name, _leaf(plain(value, format, limit, keep=keep, place=here), keep), here
        return
    tree = plain(params, format, limit, keep=keep)
    if not isinstance(tree, dict):
        advice = "give a mapping" + (", or another format" if format == "form" else "")
        raise PayloadNotEncodable("params", params, format, advice)
    yield from _pairs(tree, (), place, format, keep)


def _pairs(value: object, steps: _Steps, place: ValuePath, format: str, keep: tuple[type, ...]) -> Iterator[_Pair]:
    """Yield the pairs below a value. A name is only put together when a value is written under it.

    So the work is proportional to the output, however long the names are that only have empty values.
    """
    prefix: str | None = None
    if isinstance(value, dict):
        for key, inner in value.items():
            nests = isinstance(inner, (dict, list))
            if not key or ((steps or nests) and ("[" in key or "]" in key)):
                advice = (
                    "empty, or with brackets, it would be parsed as something else; rename it, or use format='json'"
                )
                raise PayloadNotEncodable(place.key(key), key, format, advice)
            if nests:
                yield from _pairs(inner, (steps, key), place / key, format, keep)
                continue
            prefix = _name_of(steps) if prefix is None else prefix
            yield f"{prefix}[{key}]" if prefix else key, _leaf(inner, keep), place / key
    elif isinstance(value, list):
        if any(isinstance(inner, dict) for inner in value):
            _check_records(value, place, format)
        for index, inner in enumerate(value):
            if isinstance(inner, list):
                advice = "a list in a form holds no other list; use format='json'"
                raise PayloadNotEncodable(str(place / index), inner, format, advice)
            if isinstance(inner, dict):
                yield from _pairs(inner, (steps, ""), place / index, format, keep)
                continue
            prefix = _name_of(steps) if prefix is None else prefix
            yield f"{prefix}[]", _leaf(inner, keep), place / index


def _name_of(steps: _Steps) -> str:
    keys: list[str] = []
    while steps:
        steps, key = steps
        keys.append(key)
    return "" if not keys else keys.pop() + "".join([f"[{key}]" for key in reversed(keys)])


def _check_records(records: list[Any], place: ValuePath, format: str) -> None:
    """Refuse a list of mappings in which a parser (Rack, and so Rails) could not see where the next one begins.

    The next one begins where a key is repeated: so all must begin with the same key, and that with a plain value.
    """
    firsts = []
    for index, record in enumerate(records):
        first = next(iter(record.items()), None) if isinstance(record, dict) else None
        firsts.append(None if first is None or isinstance(first[1], (dict, list)) else first[0])
        if firsts[-1] is None or firsts[-1] != firsts[0]:
            advice = "the mappings of a list must all begin with the same key and a plain value; or use format='json'"
            raise PayloadNotEncodable(str(place / index), record, format, advice)


def _leaf(value: object, keep: tuple[type, ...]) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) or (keep and isinstance(value, keep)) else repr(value)


def _quote(text: str) -> str:
    if _UNRESERVED.fullmatch(text):
        return text
    return text.translate(_QUOTED) if text.isascii() else quote_plus(text, safe="[]*-._")
