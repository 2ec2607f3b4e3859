"""What the command prints steers no terminal, whatever a queue, a target or an answer holds."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.cli.terminal import escaped, json_text

UNSEEN = (
    "\x1b\x07\x7f\x80\x9b\x9f\xad\u034f\u061c\u115f\u180e\u200b\u200d\u200e\u2028\u2029\u202e\u2060\u2066\u3164\ufe0f\ufeff"
    "\uffa0\ufff9\U000e0041\U000e0100"
)


@pytest.mark.parametrize("character", UNSEEN, ids=lambda character: f"U+{ord(character):04X}")
def test_what_cannot_be_seen_is_an_escape(character):
    """In text and in JSON: control characters of both kinds, bidirectional ones, ends of lines, zero width."""
    assert character not in escaped(f"a{character}b")
    assert character not in json_text([{f"a{character}b": f"c{character}d"}])


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_stays_what_it_was(value):
    """Read again, it is the value; and every character of it but the ends of lines can be printed."""
    for in_ascii in (False, True):
        text = json_text(value, in_ascii=in_ascii)
        assert json.loads(text) == value
        assert text.replace("\n", "").isprintable()
    assert text.isascii()


@given(st.text(st.characters(categories=["L", "Nd", "P", "Zs"], max_codepoint=0x10FF)))
def test_what_can_be_read_stays(text):
    """Letters of any script, punctuation and the blank are printed as they are."""
    seen = "".join(one for one in text if one.isprintable() and unicodedata.category(one) != "Lo" and one != "\u2800")
    assert escaped(seen) == seen
