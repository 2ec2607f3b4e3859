"""JSON that keeps the Python types that an XML Schema distinguishes, for params that wait for their WSDL."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Callable
from typing import Any

from ap4r.errors import PayloadNotEncodable
from ap4r.formats.json import json_bytes
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import ValuePath
from ap4r.formats.xml import element_bytes, is_element


def _element(text: str) -> Any:
    from lxml import etree  # with zeep only, which works on its elements

    return etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True))


_READERS: dict[str, Callable[[str], Any]] = {
    "$datetime": datetime.datetime.fromisoformat,
    "$date": datetime.date.fromisoformat,
    "$time": datetime.time.fromisoformat,
    "$decimal": decimal.Decimal,
    "$bytes": base64.b64decode,
    "$xml": _element,
}


def tagged(value: Any, place: ValuePath, limit: SizeLimit) -> Any:
    """Return a plain value as it is in JSON, typed values as `{"$date": "2026-01-02"}`, elements as `{"$xml": "<a/>"}`.

    :raises PayloadNotEncodable: a key begins with $, which no element's name does.
    :raises PayloadTooLarge: its elements exceed the limit.
    """
    if isinstance(value, dict):
        for key in value:
            if key.startswith("$"):
                raise PayloadNotEncodable(place.key(key), key, "soap", "no element's name begins with $")
        return {key: tagged(inner, place / key, limit) for key, inner in value.items()}
    if isinstance(value, list):
        return [tagged(inner, place / index, limit) for index, inner in enumerate(value)]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise PayloadNotEncodable(
                str(place), value, "soap", f"{value!r} is not a number here; give None, or a text"
            )
        return {"$decimal": str(value)}
    if is_element(value):
        text = element_bytes(value).decode()
        limit.take(len(text))
        return {"$xml": text}
    for kind, tag in _KINDS:
        if isinstance(value, kind):
            return {tag: value.isoformat()}
    return value


# A datetime is a date too, so it comes first.
_KINDS: tuple[tuple[Any, str], ...] = (
    (datetime.datetime, "$datetime"),
    (datetime.date, "$date"),
    (datetime.time, "$time"),
)


def write(value: object) -> bytes:
    """Write the result of `tagged`."""
    return json_bytes(value)


def read(body: bytes) -> Any:
    """Parse what `write` wrote, with its types."""
    return json.loads(body, object_hook=_untagged)


def _untagged(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        [(tag, text)] = found.items()
        if tag in _READERS:
            return _READERS[tag](text)
    return found
