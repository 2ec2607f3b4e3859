"""The headers that a message may carry."""

from __future__ import annotations

import pytest

from ap4r.describe.headers import check_headers
from ap4r.errors import OptionRefused, PayloadTooLarge

ROOM = 16 * 1024


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Own": "1"},
        {"Content-Type": "text/csv"},
        {"User-Agent": "shop"},
        {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
        {"Authorization": "Bearer abc", "Accept": "*/*"},
        {"X-City": "Zürich 東京"},
        {"X-Tab": "a\tb"},
        {"X-Empty": ""},
        {"!#$%&'*+-.^_`|~09azAZ": "every character of a token"},
    ],
)
def test_headers_that_pass_as_they_are(headers):
    """Names are tokens, values are text without control characters, in any script."""
    assert check_headers(headers, (), ROOM) == tuple(headers.items())


@pytest.mark.parametrize("name", ["", "X Own", "X:Own", "X-Öwn", "X\r\nY", "X\0", 5, None, b"X"])
def test_a_name_that_is_no_token_is_refused(name):
    """RFC 9110, section 5.1."""
    with pytest.raises(OptionRefused, match="headers="):
        check_headers({name: "1"}, (), ROOM)


@pytest.mark.parametrize(
    "value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\x1bb", "\ud800", 5, None, b"a", ["a"]]
)
def test_a_value_that_could_end_the_line_is_refused_without_being_told(value):
    """The error names the header, and never the value, which may be a secret."""
    with pytest.raises(OptionRefused) as caught:
        check_headers({"X-Own": value}, (), ROOM)
    assert "'X-Own'" in str(caught.value)
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection"),
        *("TE", "Trailer", "Upgrade", "Expect", "Proxy-Authorization"),
        *("Ap4r-Message-Id", "AP4R-anything", "Idempotency-Key", "webhook-id", "Webhook-Signature"),
    ],
)
def test_headers_that_are_not_the_callers_are_refused(name):
    """The connection's and ap4r's own."""
    with pytest.raises(OptionRefused, match=name):
        check_headers({name: "1"}, (), ROOM)


def test_the_bodys_content_type_gives_way_to_the_callers():
    """However the caller writes its name."""
    assert check_headers({"content-TYPE": "text/csv"}, [("Content-Type", "text/plain")], ROOM) == (
        ("content-TYPE", "text/csv"),
    )
    assert check_headers(None, [("Content-Type", "text/plain")], ROOM) == (("Content-Type", "text/plain"),)


def test_a_name_given_twice_is_refused():
    """A mapping can have it in two spellings; servers would read either."""
    with pytest.raises(OptionRefused, match="more than once"):
        check_headers({"X-Own": "1", "x-own": "2"}, (), ROOM)


def test_outer_blanks_of_a_value_go():
    """They are no part of a value (RFC 9110, section 5.5)."""
    assert check_headers({"X": " \ta b\t "}, (), ROOM) == (("X", "a b"),)


@pytest.mark.parametrize("headers", [[("X", "1")], "X: 1", 5])
def test_headers_that_are_no_mapping_are_refused(headers):
    """A list of pairs would allow what HTTP forbids."""
    with pytest.raises(OptionRefused, match="mapping"):
        check_headers(headers, (), ROOM)


def test_the_bound_counts_bytes():
    """A letter of two bytes counts twice."""
    assert check_headers({"X": "é"}, (), 3)
    with pytest.raises(PayloadTooLarge) as caught:
        check_headers({"X": "é"}, (), 2)
    assert (caught.value.size, caught.value.setting) == (3, "max_header_bytes")


@pytest.mark.parametrize("name", ["Ap4r_Message_Id", "ap4r_attempt", "Content_Length", "Idempotency_Key", "Webhook_Id"])
def test_an_underscore_is_no_way_round(name):
    """Servers give a handler both spellings under one key, so both are refused."""
    with pytest.raises(OptionRefused, match="headers"):
        check_headers({name: "spoofed"}, (), 16_384)
