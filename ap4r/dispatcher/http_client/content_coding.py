"""Decodes the body of an answer: gzip and deflate, as content or as transfer coding, up to a bound.

Pure. The request does not ask for it (`Accept-Encoding: identity`), but if a server or a proxy compresses anyway, the
work is done, and the answer must be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ap4r.dispatcher.http_client.response_framing import TooMuch

MOST_CODINGS = 4  #: one after another
MOST_MEMBERS = 100  #: of a gzip; each costs a decompressor
_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_MAGIC = b"\x1f\x8b"


class Undecodable(Exception):
    """A body cannot be decoded."""


def decoded(body: bytes, codings: Sequence[str], most_bytes: int) -> bytes:
    """Return a body as it was before it was encoded.

    A body that was not encoded, although its header says so, is returned unchanged.

    :param codings: in the order in which they were applied (RFC 9110, 8.4).
    :raises Undecodable: a coding is unknown, or the body is damaged.
    :raises TooMuch: the result would have more than `most_bytes`.
    """
    named = [name for name in (coding.strip().lower() for coding in codings) if name not in ("", "identity")]
    if len(named) > MOST_CODINGS:
        raise Undecodable(f"its body has {len(named)} codings")
    for name in reversed(named):
        if not body:
            break
        try:
            if name in _GZIP:
                body = _gunzipped(body, most_bytes)
            elif name == "deflate":
                body = _inflated(body, most_bytes)
            else:
                raise Undecodable(f"its body has the coding {name[:40]}, which is not supported")
        except zlib.error as error:
            raise Undecodable(f"its body is damaged: {error}") from error
    return body


def _gunzipped(body: bytes, most_bytes: int) -> bytes:
    if not body.startswith(_GZIP_MAGIC):
        return body
    whole = bytearray()
    for _ in range(MOST_MEMBERS):
        reader = zlib.decompressobj(wbits=31)
        _inflate(reader, body, whole, most_bytes)
        body = reader.unused_data
        if not body.startswith(_GZIP_MAGIC):
            return bytes(whole)
    raise Undecodable(f"its body is a gzip of more than {MOST_MEMBERS} members")


def _inflated(body: bytes, most_bytes: int) -> bytes:
    # With the wrapper of RFC 1950, as it should be, or without it, as some servers send it.
    for wbits in (15, -15):
        whole = bytearray()
        try:
            _inflate(zlib.decompressobj(wbits=wbits), body, whole, most_bytes)
        except zlib.error:
            continue
        return bytes(whole)
    return body


def _inflate(reader: zlib._Decompress, body: bytes, whole: bytearray, most_bytes: int) -> None:
    whole += reader.decompress(body, most_bytes - len(whole) + 1)
    if len(whole) > most_bytes:
        raise TooMuch("the answer is too large when it is decompressed")
