"""Parses a request to the intake into messages, or returns what is wrong with it. Pure: bytes in, values out.

Fields are those of `async_to`, by the same names and with the same checks.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ap4r.describe.describe import describe_message
from ap4r.describe.options import OPTIONS
from ap4r.describe.trace_context import new_trace_id, read_trace_id
from ap4r.dispatcher.http_server.problem import Refusal, refusal_of
from ap4r.dispatcher.http_server.route_rules import MostBytes
from ap4r.errors import MessageError, OptionRefused, PayloadTooLarge, TargetRefused
from ap4r.formats import encode_params
from ap4r.message.message import HTTP, Message
from ap4r.message.target import Target, TargetLike
from ap4r.protocols.registry import find_protocol
from ap4r.redaction import shortened
from ap4r.settings.settings import Settings

#: Keys that are not UUIDs become one by RFC 9562's name-based method, in this name space of ours.
KEYS = uuid.UUID("0a0f4e2b-7c55-5d6e-9a51-6d2f1b0c7438")
MAX_KEY_CHARACTERS = 255
_BODIES = ("params", "json", "text", "base64")
_FROM_JSON = {option.name: option.kind.from_json for option in OPTIONS if option.in_json}
#: The fields that a message of the intake may have.
FIELDS = frozenset({"id", "target", "trace_id", *_BODIES, *_FROM_JSON})
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


class RequestRefused(Exception):
    """A request that is not a valid put. Carries the answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Intake:
    """Parses requests within the settings' limits.

    :param is_self: whether a target is the dispatcher's own address, to which nothing is delivered.
    """

    def __init__(self, limits: Settings, is_self: Callable[[Target], bool]) -> None:
        self._limits = limits
        self._is_self = is_self

    @property
    def most_json(self) -> MostBytes:
        """The longest body of JSON: base64 adds a third to bytes, and every message has its fields."""
        most = self._limits.max_request_bytes
        return MostBytes(most * 3 // 2 + 1024 * 1024, "max_request_bytes", most, "send fewer messages at once")

    @property
    def most_raw(self) -> MostBytes:
        """The longest body that is the message's own."""
        most = self._limits.max_body_bytes
        return MostBytes(most, "max_body_bytes", most, "send where the data is, in place of the data")

    def read_json(self, body: bytes, key: str | None, traceparent: str | None) -> tuple[list[Message], bool]:
        """Parse the body of `POST /messages`: one message, or an array of them; return which of both it was.

        :param key: the Idempotency-Key, from which messages without an id get theirs.
        :raises RequestRefused: it is neither, or a message is invalid.
        :raises OptionRefused: the key is invalid.
        """
        if key is not None:
            id_of_key(key)  # also if no message needs it: an invalid key is refused
        value = _parsed(body)
        several = isinstance(value, list)
        given = value if isinstance(value, list) else [value]
        if not given:
            raise RequestRefused(Refusal(422, "no_messages", "the array is empty", "", "send at least one message"))
        if len(given) > self._limits.max_messages:
            too_many = PayloadTooLarge(
                "the messages of one request", len(given), self._limits.max_messages, "max_messages"
            )
            raise RequestRefused(refusal_of(too_many))
        trace_id = read_trace_id(traceparent) or new_trace_id()
        messages, size = [], 0
        for index, fields in enumerate(given):
            where = f"[{index}]." if several else ""
            try:
                keyed = None if key is None else _id_named(f"{key}#{index}") if several else id_of_key(key)
                message = self._message(fields, keyed, trace_id)
                size += message.size
                if size > self._limits.max_request_bytes:
                    raise PayloadTooLarge(
                        "the bytes of one request's messages", size, self._limits.max_request_bytes, "max_request_bytes"
                    )
            except MessageError as error:
                raise RequestRefused(refusal_of(error, where)) from error
            messages.append(message)
        return messages, several

    def describe(self, target: TargetLike, *, id: str | None, trace_id: str, **options: Any) -> Message:
        """Describe a message as `async_to` does, under an id that its caller chose if there is one.

        :raises MessageError: as `async_to`; also for a target that is this dispatcher.
        """
        message = describe_message(target, limits=self._limits, trace_id=trace_id, message_id=id, **options)
        if self._is_self(message.target):
            raise TargetRefused(target, "it is the dispatcher's own address, which delivers nothing to itself")
        return message

    def _message(self, fields: object, keyed: str | None, trace_id: str) -> Message:
        if not isinstance(fields, Mapping):
            raise OptionRefused("message", fields, "a message is a JSON object")
        if not fields.keys() <= FIELDS:
            unknown = sorted(fields.keys() - FIELDS)
            raise OptionRefused(str(unknown[0]), fields[unknown[0]], f"unknown; known are {', '.join(sorted(FIELDS))}")
        if "target" not in fields:
            raise TargetRefused(None, "it is missing; give a path such as /search/reindex, or a URL")
        message_id = keyed if fields.get("id") is None else _uuid(fields["id"])
        options = {
            name: read(name, given)
            for name, given in fields.items()
            if given is not None and (read := _FROM_JSON.get(name)) is not None
        }
        params, format = _body(fields, self._limits.max_body_bytes)
        # Bytes for another protocol are a call that its sender has already written.
        if format == "raw":
            options["written_for"] = options.pop("protocol", HTTP)
            find_protocol(options["written_for"])
        own_trace = fields.get("trace_id")
        if own_trace is not None and not (isinstance(own_trace, str) and _TRACE_ID.fullmatch(own_trace)):
            raise OptionRefused("trace_id", own_trace, "give 32 hexadecimal digits in lower case, not all 0")
        options |= {"params": params, "format": format}
        return self.describe(_target(fields["target"]), id=message_id, trace_id=own_trace or trace_id, **options)


def id_of_key(key: str) -> str:
    """Return the id of a message that was sent with an Idempotency-Key: the key itself if it is a UUID.

    :raises OptionRefused: it is empty, too long or not printable.
    """
    # The header's own form is a quoted string (draft-ietf-httpapi-idempotency-key-header); most send it bare.
    bare = key[1:-1] if len(key) > 2 and key[0] == key[-1] == '"' else key
    if not bare or len(bare) > MAX_KEY_CHARACTERS or not bare.isprintable():
        raise OptionRefused("Idempotency-Key", key, f"give printable text of 1 to {MAX_KEY_CHARACTERS} characters")
    return _id_named(bare)


def _id_named(name: str) -> str:
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return str(uuid.uuid5(KEYS, name))


def _parsed(body: bytes) -> object:
    try:
        return _DECODER.decode(body.decode())
    except RecursionError:
        raise RequestRefused(Refusal(400, "not_json", "it is nested too deeply", "", "send flatter JSON")) from None
    except ValueError as error:
        raise RequestRefused(
            Refusal(400, "not_json", f"the body is not JSON: {error}"[:300], "", "send valid JSON")
        ) from None


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a number in JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        times = Counter([name for name, _ in pairs])
        twice = next(name for name, count in times.items() if count > 1)
        raise ValueError(f"{shortened(twice, 80)} occurs twice in one object")
    return made


_DECODER = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object)


def _body(fields: Mapping[str, Any], most_bytes: int) -> tuple[object, str]:
    """Return params and format as `describe_message` accepts them."""
    # null is a value of JSON, and counts as absent for the others.
    given = [name for name in _BODIES if name in fields and (fields[name] is not None or name == "json")]
    if len(given) > 1:
        raise OptionRefused(given[1], fields[given[1]], f"give one of {', '.join(_BODIES)}")
    name = given[0] if given else "params"
    value = fields.get(name)
    if name == "params":
        return value, "form" if fields.get("format") is None else fields["format"]
    if fields.get("format") is not None:
        raise OptionRefused("format", fields["format"], "it goes with params alone")
    match name, value:
        case "json", str() | None:
            return json.dumps(value), "json"
        case "json", _:
            return encode_params(value, "json", most_bytes)[0], "json"
        case "text", str():
            return value, "text"
        case "base64", str():
            try:
                return base64.b64decode(value, validate=True), "raw"
            except (binascii.Error, ValueError) as error:
                raise OptionRefused("base64", value, f"it is not base64: {error}") from None
    raise OptionRefused(name, value, "give a string")


def _target(given: Any) -> TargetLike:
    if isinstance(given, Mapping) and set(given) == {"upstream", "path"}:
        return Target(given["path"], given["upstream"])
    target: TargetLike = given
    return target


def _uuid(given: object) -> str:
    try:
        if not isinstance(given, str):
            raise ValueError("no string")
        return str(uuid.UUID(given))
    except ValueError:
        raise OptionRefused("id", given, "an id is a UUID; other names go into the header Idempotency-Key") from None
