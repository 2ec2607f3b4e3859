"""Which trace a message belongs to."""

from __future__ import annotations

import pytest

from ap4r.describe.trace_context import new_trace_id, read_trace_id

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "text", [f"00-{TRACE}-{PARENT}-01", f" 00-{TRACE}-{PARENT}-00 ", f"01-{TRACE}-{PARENT}-01-later-fields"]
)
def test_a_valid_header_has_its_trace(text):
    """Later versions may say more."""
    assert read_trace_id(text) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE[:-1]}-{PARENT}-01",
    ],
)
def test_an_invalid_header_has_no_trace(text):
    """W3C Trace Context has such a header ignored."""
    assert read_trace_id(text) is None


def test_a_new_trace_is_random_and_valid():
    """32 hex digits, never the same."""
    first, second = new_trace_id(), new_trace_id()
    assert first != second
    assert read_trace_id(f"00-{first}-{PARENT}-01") == first
