"""XML: a document as it is, an ElementTree, or a mapping written as Rails' `Hash#to_xml` does."""

from __future__ import annotations

import base64
import datetime
import decimal
import re
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ap4r.errors import PayloadNotEncodable
from ap4r.formats.plain_values import plain, text_of
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import KeyPath, ValuePath
from ap4r.formats.xml_check import check_document

CONTENT_TYPE = "application/xml"
DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
#: Characters that XML 1.0 does not allow (its section 2.2), not even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Names without a colon, in ASCII and letters: every parser accepts them for an element.
_NAME = re.compile(r"[^\W\d][\w.-]*")
_ENCODING = re.compile(r"""<\?xml\s[^>]*?encoding\s*=\s*["']([^"']*)["']""")
#: Types that an XML writer can mark.
TYPED = (datetime.datetime, datetime.date, decimal.Decimal, bytes)


def encode_xml(params: object, limit: SizeLimit) -> tuple[bytes, str]:
    """Write a value as an XML document; return it with its content type.

    A str or bytes must be XML already. An Element or ElementTree (lxml's too) is written as it is. A mapping becomes
    `<hash>` with a `type` for every value but text, as Rails writes and parses it; the items of a list are `<item>`.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises PayloadTooLarge: it has more than the limit.
    """
    if isinstance(params, (str, bytes, bytearray, memoryview)):
        limit.check(len(params))
    if isinstance(params, str):
        text = text_of(params, ValuePath(), "xml")
        declared = _ENCODING.match(text)
        if declared and declared[1].lower() not in ("utf-8", "utf8", "us-ascii"):
            advice = f"it declares the encoding {declared[1]}, but a str is sent as UTF-8; give bytes"
            raise PayloadNotEncodable("params", params, "xml", advice)
        return _checked(text.encode(), params), CONTENT_TYPE
    if isinstance(params, (bytes, bytearray, memoryview)):
        return _checked(bytes(params), params), CONTENT_TYPE
    if is_element(params):
        body = DECLARATION.encode() + element_bytes(params)
        limit.check(len(body))
        return _checked(body, params), CONTENT_TYPE
    tree = plain(params, "xml", limit, keep=TYPED)
    if not isinstance(tree, dict):
        raise PayloadNotEncodable("params", params, "xml", "give a mapping, a str of XML or an Element")
    return (DECLARATION + limit.again().joined(_written("hash", tree, ValuePath()))).encode(), CONTENT_TYPE


def is_element(value: object) -> bool:
    """Return whether a value is an Element or an ElementTree, of the standard library or of lxml."""
    return isinstance(value, (ElementTree.Element, ElementTree.ElementTree)) or (
        type(value).__module__ == "lxml.etree" and type(value).__name__ in ("_Element", "_ElementTree")
    )


class _ElementKind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return is_element(value)


class AnyElement(metaclass=_ElementKind):
    """Any object that `is_element` accepts, as a class: for the types that `plain` keeps."""


def element_bytes(value: Any) -> bytes:
    """Write an element that `is_element` accepts, in UTF-8 and without a declaration.

    :raises PayloadNotEncodable: it is not a valid tree.
    """
    try:
        if type(value).__module__ == "lxml.etree":
            return bytes(sys.modules["lxml.etree"].tostring(value, encoding="unicode", with_tail=False).encode())
        root = value.getroot() if isinstance(value, ElementTree.ElementTree) else value
        tail, root.tail = root.tail, None
        try:
            return ElementTree.tostring(root, encoding="unicode").encode()
        finally:
            root.tail = tail
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PayloadNotEncodable("params", value, "xml", f"it is not a valid tree ({error})") from error


def xml_text(text: str, place: ValuePath | KeyPath | str, format: str) -> str:
    """Escape a text for an element's content.

    :raises PayloadNotEncodable: it has a character that XML does not allow.
    """
    found = _NO_XML.search(text)
    if found:
        advice = f"XML does not allow the character {found[0]!r}; send such data as bytes, or as JSON"
        raise PayloadNotEncodable(str(place), text, format, advice)
    # Parsers turn a bare carriage return into a line feed (XML 1.0, 2.11).
    return escape(text, {"\r": "&#13;"})


def xml_name(name: str, place: ValuePath, format: str) -> str:
    """Check that a key may be the name of an element.

    :raises PayloadNotEncodable: it may not.
    """
    if not _NAME.fullmatch(name) or _NO_XML.search(name):
        advice = "the name of an element is made of letters, digits, _, - and ., and begins with a letter or _"
        raise PayloadNotEncodable(place.key(name), name, format, advice)
    return name


def _written(name: str, value: Any, place: ValuePath) -> Iterator[str]:
    if value is None:
        yield f'<{name} nil="true"/>'
    elif isinstance(value, dict):
        yield f"<{name}>"
        for key, inner in value.items():
            yield from _written(xml_name(key, place, "xml"), inner, place / key)
        yield f"</{name}>"
    elif isinstance(value, list):
        yield f'<{name} type="array">'
        for index, inner in enumerate(value):
            yield from _written("item", inner, place / index)
        yield f"</{name}>"
    else:
        kind, text = _typed(value, place)
        declared = f' type="{kind}"' if kind else ""
        yield f"<{name}{declared}>{xml_text(text, place, 'xml')}</{name}>"


def _typed(value: Any, place: ValuePath) -> tuple[str, str]:
    if isinstance(value, str):
        # Without its type an empty element would be nil to Rails.
        return ("", value) if value.strip() else ("string", value)
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) else "float", repr(value)
    if isinstance(value, bytes):
        return "base64Binary", base64.b64encode(value).decode("ascii")
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise PayloadNotEncodable(str(place), value, "xml", f"{value!r} is not a number here; give None, or a text")
        return "decimal", str(value)
    return "dateTime" if isinstance(value, datetime.datetime) else "date", value.isoformat()


def _checked(document: bytes, given: object) -> bytes:
    try:
        check_document(document)
    except (ValueError, LookupError) as error:
        advice = f"it is not XML ({error}); a str, bytes or tree must be one well-formed document without entities"
        raise PayloadNotEncodable("params", given, "xml", advice[:300]) from error
    return document
