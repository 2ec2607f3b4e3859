"""Forms with files (multipart/form-data, RFC 7578)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ap4r.errors import PayloadNotEncodable
from ap4r.formats.form import pairs_of
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import ValuePath

# Parsers differ in how they read these in a quoted name: quotes, backslashes, and the escapes of browsers.
_UNSAFE = re.compile(r'["\\\x00-\x1f\x7f\ud800-\udfff]|%22|%0[ad]', re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;[ -~]*)?", re.ASCII)
RAW = "application/octet-stream"
MOST_READ_AT_ONCE = 2**40
_AROUND_A_PART = 43  #: bytes of the boundary before it, and of line breaks


@dataclass(frozen=True, slots=True)
class File:
    """A file in a multipart form: its bytes, the name that the receiver sees, and its media type."""

    data: bytes
    filename: str = "file"
    content_type: str = RAW


def encode_multipart(params: object, limit: SizeLimit) -> tuple[bytes, str]:
    """Write a mapping as multipart/form-data; return it with its content type, which names the boundary.

    Names are nested as in a form. A file is a `File`; or bytes, which become a file named like their key; or an open
    binary file (anything with `read()`), which is read now, from its beginning if it can seek.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises PayloadTooLarge: it has more than the limit.
    """
    written = limit.again()
    parts = []
    for name, value, place in pairs_of(params, "multipart", limit, keep=(File, bytes, _Open)):
        parts.append(_part(name, _read(value, place, written), written))
        written.take(len(parts[-1]) + _AROUND_A_PART)
    boundary = _boundary(parts)
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary
    return body, f"multipart/form-data; boundary={boundary.decode()}"


class _OpenKind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return callable(getattr(value, "read", None)) and not isinstance(value, (Mapping, type))


class _Open(metaclass=_OpenKind):
    """Any object with a `read()`: such as an open file, or an upload of werkzeug's or Django's."""


def _read(value: object, place: ValuePath, limit: SizeLimit) -> str | File:
    """Return a text unchanged, and everything else as a `File`."""
    if isinstance(value, (str, File)):
        return value
    name = os.path.basename(place.last_key()) or "file"
    if isinstance(value, bytes):
        return File(value, name)
    data = _content(value, place, limit)
    filename = getattr(value, "filename", None) or getattr(value, "name", None)
    kind = getattr(value, "content_type", None)
    return File(
        data,
        os.path.basename(filename) if isinstance(filename, str) and filename else name,
        kind if isinstance(kind, str) and kind else RAW,
    )


def _content(file: Any, place: ValuePath, limit: SizeLimit) -> bytes:
    try:
        # It may have been read or saved before it was passed on.
        if callable(getattr(file, "seekable", None)) and file.seekable():
            file.seek(0)
        data = _read_within(file, limit)
    except ValueError as error:  # raised by io for files that are closed, or open for writing only
        raise PayloadNotEncodable(str(place), file, "multipart", f"it cannot be read ({error})") from error
    if not isinstance(data, bytes):
        raise PayloadNotEncodable(str(place), file, "multipart", "a file must be opened in binary mode")
    return data


def _read_within(file: Any, limit: SizeLimit) -> Any:
    """Read a file to its end, but at most one byte beyond the limit of a body."""
    most = limit.left + 1
    if most > MOST_READ_AT_ONCE:
        return file.read()
    try:
        data = file.read(most)
    except TypeError:  # it can only be read whole
        return file.read()
    if not isinstance(data, bytes):
        return data
    pieces, left = [data], most - len(data)
    while data and left > 0:  # a raw file may return less than it has
        data = file.read(left)
        pieces.append(data or b"")
        left -= len(pieces[-1])
    return b"".join(pieces)


def _part(name: str, value: str | File, limit: SizeLimit) -> bytes:
    limit.check(len(name))
    head = f'Content-Disposition: form-data; name="{_checked(name, "the name", name)}"'
    if isinstance(value, str):
        limit.check(len(head) + len(value))
        return f"{head}\r\n\r\n{value}".encode()
    data: object = value.data
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise PayloadNotEncodable(f"the data of the file {name}"[:200], data, "multipart", "give bytes")
    limit.check(len(head) + memoryview(data).nbytes)
    filename = _checked(value.filename, "the filename", name)
    kind: object = value.content_type
    if not isinstance(kind, str) or not _MEDIA_TYPE.fullmatch(kind):
        advice = "give a media type such as image/png"
        raise PayloadNotEncodable(f"the content_type of the file {name}"[:200], kind, "multipart", advice)
    head += f'; filename="{filename}"\r\nContent-Type: {kind}'
    return head.encode() + b"\r\n\r\n" + bytes(data)


def _checked(name: object, what: str, part: str) -> str:
    if not isinstance(name, str) or not name or _UNSAFE.search(name):
        advice = 'it has ", \\, a control character or %22, which servers parse differently; use another name'
        raise PayloadNotEncodable(f"{what} of the part {part!r}"[:200], name, "multipart", advice)
    return name


def _boundary(parts: list[bytes]) -> bytes:
    """Return a boundary that occurs in no part; the same parts have the same one."""
    for candidate in _candidates(parts):
        if not any(candidate in part for part in parts):
            return candidate
    raise AssertionError("unreachable: candidates do not end")


def _candidates(parts: list[bytes]) -> Iterator[bytes]:
    digest = hashlib.sha256(b"\r\n".join(parts))
    while True:
        yield b"ap4r-" + digest.hexdigest()[:32].encode()
        digest.update(b"again")
