"""The kinds of values that options of a message have: each is checked, described and parsed in one place. Pure.

A kind knows the four forms of a value: that of `async_to`, that of JSON, that of a header, and its JSON schema.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from ap4r.describe.headers import TOKEN
from ap4r.errors import OptionRefused

# A hundred years: a database can add this to an instant without leaving its range.
_MAX_SECONDS = 3_155_760_000
_MAX_INSTANT = 253_402_300_799  # the end of the year 9999, the last of datetime
MAX_INTEGER = 2**31 - 1  #: the largest integer that every database stores in four bytes
_MAX_METHOD_LENGTH = 32
_USUAL_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


class OptionKind:
    """Any value: what a protocol, a format or a header checks by itself.

    :ivar schema: the JSON schema of the value (OpenAPI 3.1).
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)

    def check(self, name: str, value: Any) -> Any:
        """Return the value as the message has it.

        :raises OptionRefused: it is not of this kind.
        """
        return value

    def from_json(self, name: str, value: Any) -> Any:
        """Return the argument of `async_to` for a value of JSON.

        :raises OptionRefused: the value cannot be parsed.
        """
        return value

    def from_text(self, name: str, text: str) -> Any:
        """Return the argument of `async_to` for the text of an option of X-AP4R.

        :raises OptionRefused: the text cannot be parsed.
        """
        return text


class Seconds(OptionKind):
    """A duration: a number of seconds, or a timedelta."""

    def __init__(self, *, or_zero: bool = False) -> None:
        least = {"minimum" if or_zero else "exclusiveMinimum": 0}
        super().__init__({"type": "number", **least, "maximum": _MAX_SECONDS})
        self._or_zero = or_zero

    def check(self, name: str, value: Any) -> float:
        """Return the number of seconds."""
        if type(value) is not int and type(value) is not float:
            value = _number_of_seconds(name, value)
        # Written so that NaN, which is neither less nor greater than anything, is refused too.
        if not (0 <= value <= _MAX_SECONDS) or (value == 0 and not self._or_zero):
            least = "from" if self._or_zero else "above"
            raise OptionRefused(name, value, f"give a number {least} 0 up to {_MAX_SECONDS:,}")
        return float(value)

    def from_text(self, name: str, text: str) -> float:
        """Return the number that a text is."""
        return _decimal(name, text)


class Instant(OptionKind):
    """An instant: Unix seconds, or a datetime with a time zone."""

    def __init__(self) -> None:
        number = {"type": "number", "minimum": 0, "maximum": _MAX_INSTANT}
        super().__init__({"oneOf": [number, {"type": "string", "format": "date-time"}]})

    def check(self, name: str, value: Any) -> float:
        """Return the Unix seconds."""
        if isinstance(value, datetime.datetime):
            if value.utcoffset() is None:
                raise OptionRefused(name, value, "it has no time zone; give one, as with tzinfo=datetime.UTC")
            value = value.timestamp()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise OptionRefused(name, value, "give Unix seconds, or a datetime with a time zone")
        if not 0 <= value <= _MAX_INSTANT:
            raise OptionRefused(name, value, "give an instant from 1970 to 9999, in Unix seconds")
        return float(value)

    def from_json(self, name: str, value: Any) -> Any:
        """Return the datetime of a text; a number is returned as it is."""
        if not isinstance(value, str):
            return value
        try:
            return datetime.datetime.fromisoformat(value)
        except ValueError:
            raise OptionRefused(name, value, "give Unix seconds, or an instant as 2030-01-31T12:00:00Z") from None

    def from_text(self, name: str, text: str) -> float:
        """Return the number that a text is."""
        return _decimal(name, text)


class WholeNumber(OptionKind):
    """An integer within bounds."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__({"type": "integer", "minimum": least, "maximum": most})
        self._least, self._most = least, most

    def check(self, name: str, value: Any) -> int:
        """Return the integer."""
        if isinstance(value, bool) or not isinstance(value, int) or not self._least <= value <= self._most:
            raise OptionRefused(name, value, f"give a whole number from {self._least:,} to {self._most:,}")
        return value

    def from_json(self, name: str, value: Any) -> Any:
        """Return 3 for 3.0: JSON has one kind of number, and both are integers to its schemas."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def from_text(self, name: str, text: str) -> int:
        """Return the integer that a text is."""
        number = _decimal(name, text)
        if number != int(number) or not self._least <= number <= self._most:
            problem = f"{name} must be a whole number from {self._least:,} to {self._most:,}"
            raise OptionRefused("X-AP4R", text, problem)
        return int(number)


class Choice(OptionKind):
    """One of a few texts."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__({"type": "string", "enum": list(choices)})
        self._choices = choices

    def check(self, name: str, value: Any) -> str:
        """Return the text."""
        for choice in self._choices:
            if value == choice:
                return choice
        raise OptionRefused(name, value, f"give one of {', '.join(self._choices)}")


class Method(OptionKind):
    """A method of HTTP."""

    def __init__(self) -> None:
        super().__init__({"type": "string", "minLength": 1, "maxLength": _MAX_METHOD_LENGTH})

    def check(self, name: str, value: Any) -> str:
        """Return the method in capitals."""
        if type(value) is str and value in _USUAL_METHODS:
            return value
        if not isinstance(value, str) or not TOKEN.fullmatch(value) or len(value) > _MAX_METHOD_LENGTH:
            raise OptionRefused(name, value, "a method is one word, such as POST")
        upper = value.upper()
        if upper in ("CONNECT", "TRACE"):
            raise OptionRefused(name, value, "it is for proxies, not for a handler; give another")
        return upper


class Members(OptionKind):
    """An object whose members a protocol checks."""

    def __init__(self) -> None:
        super().__init__({"type": "object"})

    def from_json(self, name: str, value: Any) -> Any:
        """Return the object."""
        if not isinstance(value, Mapping):
            raise OptionRefused(name, value, "give an object with what belongs to the protocol")
        return value


def _number_of_seconds(name: str, value: object) -> float:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionRefused(name, value, "give a number of seconds or a datetime.timedelta")
    return value


def _decimal(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise OptionRefused("X-AP4R", text, f"{name} must be a number in digits, as 60 or 0.5")
    return float(text)
