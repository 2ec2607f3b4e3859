"""Texts that are fit for a terminal: nothing in them moves its cursor, hides a part or turns its direction. Pure.

Queues, targets and answers hold what strangers chose. Python knows control and format characters (U+0080 to U+009F,
bidirectional ones, U+2028, zero width) by `isprintable`; beside those Unicode has letters and marks that show nothing.
"""

from __future__ import annotations

import json
import re

#: Default_Ignorable_Code_Point of Unicode, as far as they are no format characters; and the blank of Braille.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_visible(character: str) -> bool:
    """Return whether a character can be shown and is seen."""
    return character.isprintable() and not _INVISIBLE.match(character)


def escaped(text: str) -> str:
    """Return a text in which everything that cannot be seen is written as an escape, but for the ends of lines."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one == "\n" or is_visible(one) else _escape(one) for one in text)


def json_text(value: object, *, in_ascii: bool = False) -> str:
    """Return a value as JSON in several lines; read again it is the same, and on a terminal nothing in it is unseen.

    :param in_ascii: write every other character as an escape, for an output that has no Unicode.
    """
    text = json.dumps(value, ensure_ascii=in_ascii, indent=2)
    return "".join(one if one == "\n" or is_visible(one) else _json_escape(one) for one in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    # Beyond the first plane two of them, as JSON has it (RFC 8259, section 7).
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
