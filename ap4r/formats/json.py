"""JSON (RFC 8259), compact and in UTF-8."""

from __future__ import annotations

import json

from ap4r.errors import PayloadNotEncodable
from ap4r.formats.plain_values import plain, text_of
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import ValuePath

CONTENT_TYPE = "application/json"


def encode_json(params: object, limit: SizeLimit) -> tuple[bytes, str]:
    """Write a value as JSON; return it with its content type. A str or bytes must be JSON already.

    Instants, dates and times are text as in ISO 8601; Decimal (so that no digit is lost) and UUID are texts; bytes
    are base64 (RFC 4648, section 4); a dataclass or an attrs object is an object of its fields; an enum is its value.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises PayloadTooLarge: it has more than the limit.
    """
    if isinstance(params, (str, bytes, bytearray, memoryview)):
        limit.check(len(params))
        return _checked(params), CONTENT_TYPE
    return json_bytes(plain(params, "json", limit)), CONTENT_TYPE


def json_bytes(value: object) -> bytes:
    """Write a value that is plain already."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _checked(params: str | bytes | bytearray | memoryview) -> bytes:
    body = text_of(params, ValuePath(), "json").encode() if isinstance(params, str) else bytes(params)
    try:
        # The numbers stay text: converting them to integers takes time with the square of their digits.
        json.loads(body.decode(), parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        advice = f"a str or bytes must be JSON already ({error}); to send a string, give json.dumps(text)"
        raise PayloadNotEncodable("params", params, "json", advice) from error
    return body


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number here")
