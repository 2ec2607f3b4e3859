"""Reduces a value to types that every format has: dict with str keys, list, and leaves of exact types.

A dataclass or an attrs object becomes a dict of its fields, an enum its value. Types that a format does not have are
written as text: instants, dates and times as in ISO 8601, Decimal and UUID as text, bytes as base64.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ap4r.errors import PayloadNotEncodable
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import KeyPath, ValuePath

MAX_DEPTH = 64  #: PHP parses no more levels of a form
#: The most digits of an integer, Python's default: writing more takes time with the square of the digits.
MAX_INTEGER_DIGITS = 4_300
_MOST_INTEGER = 10**MAX_INTEGER_DIGITS - 1
_SURELY_SHORT_BITS = _MOST_INTEGER.bit_length() - 1
#: The fewest bytes that a format writes for a nested value, beside its key and its content.
_AROUND_A_VALUE = {"json": 1, "jsonrpc": 1, "soap": 1, "yaml": 2, "xml": 5, "xmlrpc": 15}
_SHARED = (dict, list, tuple)


def plain(
    value: object, format: str, limit: SizeLimit, *, keep: tuple[type, ...] = (), place: ValuePath | None = None
) -> Any:
    """Return a copy of a value that holds only dict, list, str, int, float, bool, None and the types in `keep`.

    Without `keep` the other types that can be written become text.

    :param limit: counts the copy, by the characters that every format writes for it: a value that refers to another
        many times (as aliases in YAML do) may be much larger than it looks.
    :raises PayloadNotEncodable: names the path of the value that cannot be written.
    """
    return _Copying(format, keep, limit).copy(value, ValuePath() if place is None else place)


class _Copied(NamedTuple):
    """A container and its copy. The container is kept, so that no other gets its id."""

    container: object
    copy: Any
    size: int
    values: int
    height: int


class _Copying:
    """Copies one value. Objects that occur in it several times are copied once, and counted each time."""

    __slots__ = ("_around", "_copied", "_deepest", "_format", "_keep", "_limit")

    def __init__(self, format: str, keep: tuple[type, ...], limit: SizeLimit) -> None:
        self._format = format
        self._keep = keep
        self._limit = limit
        self._around = _AROUND_A_VALUE.get(format, 0)
        self._copied: dict[int, _Copied] = {}
        self._deepest = 0

    def copy(self, value: object, place: ValuePath) -> Any:
        """Return the copy of the value at a path."""
        if place.depth:
            self._limit.take(self._around)
        if type(value) not in _SHARED or not value:
            self._deepest = max(self._deepest, place.depth)
            return self._copy_of(value, place)
        known = self._copied.get(id(value))
        if known is not None and place.depth + known.height <= MAX_DEPTH:
            self._limit.take_again(known.size, known.values)
            self._deepest = max(self._deepest, place.depth + known.height)
            return known.copy
        deepest, (left, values) = self._deepest, self._limit.counted
        self._deepest = place.depth
        made = self._copy_of(value, place)
        left_now, values_now = self._limit.counted
        height = self._deepest - place.depth
        self._copied[id(value)] = _Copied(value, made, left - left_now, values - values_now, height)
        self._deepest = max(deepest, self._deepest)
        return made

    def _copy_of(self, value: object, place: ValuePath) -> Any:
        format, keep, limit = self._format, self._keep, self._limit
        if place.depth > MAX_DEPTH:
            advice = f"it is nested deeper than {MAX_DEPTH}, or holds itself"
            raise PayloadNotEncodable(str(place), value, format, advice)
        kind = type(value)
        if kind is str and value.isascii():  # type: ignore[attr-defined]
            # Nearly every leaf is of this type or the next: both skip the tests below.
            limit.take_value(len(value))  # type: ignore[arg-type]
            return value
        if kind is int:
            limit.take_value(1)
            return _integer(value, place, format)  # type: ignore[arg-type]
        if value is None or kind is bool or (keep and isinstance(value, keep)):
            limit.take_value(len(value) if isinstance(value, bytes) else 1)
            return value
        if isinstance(value, (bytearray, memoryview)) and bytes in keep:
            limit.take_value(memoryview(value).nbytes)
            return bytes(value)
        if kind is dict or isinstance(value, Mapping):
            limit.take_value(0)
            tree: dict[str, Any] = {}
            for key, inner in items_of(value, place, format):  # type: ignore[arg-type]
                limit.take(len(key))
                tree[key] = self.copy(inner, place / key)
            return tree
        if isinstance(value, (list, tuple)):
            limit.take_value(0)
            return [self.copy(inner, place / index) for index, inner in enumerate(value)]
        if isinstance(value, enum.Enum) and not isinstance(value, (str, int, float)):
            return self._copy_of(value.value, place)
        fields = _fields_of(value)
        if fields is not None:
            limit.take_value(0)
            written: dict[str, Any] = {}
            for name in fields:
                limit.take(len(name))
                written[name] = self.copy(getattr(value, name), place / name)
            return written
        return _leaf(value, place, format, limit)


def _fields_of(value: object) -> list[str] | None:
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes]


def _leaf(value: object, place: ValuePath, format: str, limit: SizeLimit) -> str | int | float:
    if isinstance(value, (str, bytes, bytearray)):
        limit.take_value(len(value))
    else:
        limit.take_value(memoryview(value).nbytes if isinstance(value, memoryview) else 1)
    # A subclass is written as its plain value: an enum's name, or the result of its __str__, has no meaning elsewhere.
    if isinstance(value, str):
        return text_of(value, place, format)
    if isinstance(value, int):
        return _integer(value, place, format)
    if isinstance(value, float):
        if math.isfinite(value):
            return float.__pos__(value)
        raise PayloadNotEncodable(str(place), value, format, f"{value!r} is not a number here; give None, or a text")
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        if value.is_finite():
            return str(value)
        raise PayloadNotEncodable(str(place), value, format, f"{value!r} is not a number here; give None, or a text")
    if isinstance(value, (bytes, bytearray, memoryview)) and format not in ("form", "multipart"):
        return base64.b64encode(value).decode("ascii")
    raise PayloadNotEncodable(str(place), value, format, _advice_for(value, format))


def _advice_for(value: object, format: str) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "a form has text only; send files with format='multipart', or base64.b64encode(data).decode()"
    if isinstance(value, (set, frozenset)) or hasattr(value, "__next__"):
        return "it has no stable order; give a list"
    if isinstance(value, datetime.timedelta):
        return "give its total_seconds()"
    return "convert it to a plain value first"


def _integer(value: int, place: ValuePath | KeyPath | str, format: str) -> int:
    # Not by trying: that takes time with the square of its digits if the process allows any number of them.
    if int.bit_length(value) > _SURELY_SHORT_BITS and abs(value) > _MOST_INTEGER:
        raise PayloadNotEncodable(str(place), value, format, "it has too many digits; send it as text")
    return int.__int__(value)


def items_of(mapping: Mapping[Any, object], place: ValuePath, format: str) -> Iterator[tuple[str, object]]:
    """Yield the items with their keys as text: a str or an int, never two that are written alike.

    :raises PayloadNotEncodable: names the key.
    """
    if hasattr(mapping, "lists"):
        raise PayloadNotEncodable(str(place), mapping, format, "it may hold several values a name; give a plain dict")
    seen = set()
    for key, inner in mapping.items():
        if type(key) is str and key.isascii():
            written = key
        elif isinstance(key, str):
            written = text_of(key, place.key(key), format)
        elif isinstance(key, int) and not isinstance(key, bool):
            written = str(_integer(key, place.key("…"), format))
        else:
            raise PayloadNotEncodable(place.key(key), key, format, "a key is a string or a whole number")
        if written in seen:
            raise PayloadNotEncodable(place.key(key), key, format, "another key is written in the same way")
        seen.add(written)
        yield written, inner


def text_of(text: str, place: ValuePath | KeyPath | str, format: str) -> str:
    """Return a str, or a subclass's value, that can be encoded as UTF-8.

    :raises PayloadNotEncodable: it has a lone surrogate.
    """
    if type(text) is str and text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PayloadNotEncodable(
            str(place), text, format, "it has a lone surrogate, which no encoding can write"
        ) from error
    return str.__str__(text)
