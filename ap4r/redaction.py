"""Texts for logs and errors: short, in one line, without credentials."""

from __future__ import annotations

import re
import reprlib

# The second form: a password with an unescaped slash, which is not a port.
_CREDENTIALS = re.compile(r"""(?<!/)//(?:[^/?#\s'"]{0,2000}|[^/?#\s'"@:]{0,2000}:(?!\d*[/?#])[^\s'"]{0,2000})@""")
_PASSWORD_FIELD = re.compile(r"""(?<=[?&\s'"])(password|passwd|passphrase|sslpassword)=[^&\s'"]*""", re.IGNORECASE)
_SECRET = re.compile(r"(?<=whsec_)[A-Za-z0-9+/=_-]+")


def without_credentials(text: str) -> str:
    """Return a text without secrets: no `user:password@` or `password=` of a URL, no `whsec_` secret."""
    return _PASSWORD_FIELD.sub(r"\1=***", _SECRET.sub("…", _CREDENTIALS.sub("//…@", text)))


class _Brief(reprlib.Repr):
    """Writes no more of a value than its beginning and end, whatever its size, depth or `__repr__`."""

    def repr_str(self, x: str, level: int) -> str:
        # Before it is cut, because the cut could remove the @ that marks a password.
        return super().repr_str(without_credentials(x[:10_000]), level)

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write integers of thousands of digits.
        return super().repr_int(x, level) if x.bit_length() <= 1_000 else f"<an integer of {x.bit_length()} bits>"


def shortened(value: object, limit: int = 200) -> str:
    """Return any value as text of at most `limit` characters, without credentials. It never raises."""
    brief = _Brief()
    brief.maxstring = brief.maxother = brief.maxlong = limit
    text = without_credentials(brief.repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def in_one_line(text: str) -> str:
    """Return a text in one line: drivers use several lines, which a log must not."""
    return " ".join(text.split())
