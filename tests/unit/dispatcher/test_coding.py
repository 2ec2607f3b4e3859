"""coding: a compressed answer is read, to a bound."""

from __future__ import annotations

import gzip
import zlib

import pytest

from ap4r.dispatcher.http_client.content_coding import MOST_MEMBERS, Undecodable, decoded
from ap4r.dispatcher.http_client.response_framing import TooMuch

BODY = b"<a>true</a>" * 10
RAW = zlib.compressobj(wbits=-15)
DEFLATED = RAW.compress(BODY) + RAW.flush()


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (BODY, []),
        (BODY, ["identity", ""]),
        (gzip.compress(BODY, mtime=0), ["gzip"]),
        (gzip.compress(BODY, mtime=0), [" X-GZip "]),
        (gzip.compress(BODY[:50], mtime=0) + gzip.compress(BODY[50:], mtime=0), ["gzip"]),
        (gzip.compress(BODY, mtime=0) + b"\0" * 10, ["gzip"]),
        (zlib.compress(BODY), ["deflate"]),
        (DEFLATED, ["deflate"]),
        (gzip.compress(zlib.compress(BODY), mtime=0), ["deflate", "gzip"]),
        (BODY, ["gzip"]),
        (BODY, ["deflate"]),
    ],
)
def test_a_coded_body_is_read(body, codings):
    """Also where a server says so without doing it."""
    assert decoded(body, codings, len(BODY)) == BODY


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (BODY, ["br"]),
        (BODY, ["gzip"] * 5),
        (gzip.compress(BODY, mtime=0)[:-8] + bytes(8), ["gzip"]),
        (gzip.compress(b"", mtime=0) * (MOST_MEMBERS + 1), ["gzip"]),
    ],
)
def test_what_cannot_be_decoded_is_said(body, codings):
    """An unknown coding, too many, and damage."""
    with pytest.raises(Undecodable):
        decoded(body, codings, 1_000_000)


@pytest.mark.parametrize("codings", [["gzip"], ["gzip", "gzip"]])
def test_a_bomb_does_not_go_off(codings):
    """Nothing becomes larger than was agreed."""
    bomb = gzip.compress(b"0" * 10_000_000)
    if len(codings) == 2:
        bomb = gzip.compress(bomb)
    with pytest.raises(TooMuch):
        decoded(bomb, codings, 1_000_000)
    with pytest.raises(TooMuch):
        decoded(zlib.compress(b"0" * 1_001), ["deflate"], 1_000)
    assert len(decoded(zlib.compress(b"0" * 1_000), ["deflate"], 1_000)) == 1_000


def test_an_empty_body_is_empty():
    """Whatever coding its header names."""
    assert decoded(b"", ["gzip"], 10) == b""
