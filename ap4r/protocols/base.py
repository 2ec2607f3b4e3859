"""The interface of protocols (`http`, `xmlrpc`, `soap`, `jsonrpc`, and those of packages), and safe calls of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol, runtime_checkable

from ap4r.errors import Ap4rError, OptionRefused, PayloadNotEncodable
from ap4r.formats.size_limit import UNLIMITED
from ap4r.message.message import Message
from ap4r.message.target import Target
from ap4r.outcome.response import Answer, Reason, ResponseReading


# One of each is built for every message, and a frozen one takes three times as long.
@dataclass(slots=True, kw_only=True)
class ProtocolCall:
    """A call as its caller described it. `options` holds the options that are not arguments of `async_to`.

    `max_body_bytes` is the limit of the body: a longer one is refused when it is written, and a protocol that may
    write much more than its input stops there by itself (`ap4r.formats.SizeLimit` counts).
    """

    message_id: str
    target: Target
    params: object = None
    action: str | None = None
    method: str = "POST"
    format: str = "form"
    options: Mapping[str, object] = field(default_factory=dict)
    max_body_bytes: int = UNLIMITED


@dataclass(slots=True, kw_only=True)
class Encoded:
    """A call as a request. Headers that the caller gives take precedence over `headers`."""

    target: Target
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@runtime_checkable
class CallProtocol(Protocol):
    """One way of calling. It does no I/O and keeps no state.

    An entry point of the group `ap4r.protocols` names such an object, or a class without arguments; its name is what
    callers give as `protocol=`. It must be installed both where messages are described and where they are delivered.
    """

    def encode(self, call: ProtocolCall) -> Encoded:
        """Write a call as a request, in the process that asks for it.

        :raises MessageError: the call cannot be written; the text says what to do.
        """

    def judge(self, answer: Answer, message: Message) -> ResponseReading | None:
        """Interpret a whole response: success, a fault, or None to leave the decision to its status. Never raises."""


@runtime_checkable
class Described(Protocol):
    """A protocol some of whose messages are written by the dispatcher, from documents that it fetches."""

    def description_of(self, message: Message) -> str | None:
        """Return the target (as text) whose document describes this message; None if the message is written already."""

    def compile(self, url: str, documents: Mapping[str, bytes]) -> Any:
        """Build from the documents what `complete` needs. Called in a separate process, with limits of time and memory.

        :raises DocumentMissing: another document is needed first.
        :raises Exception: the documents are not a description.
        """

    def complete(self, message: Message, compiled: Any) -> Message:
        """Return the message as it is to be sent. Called in such a process too, to which the message is copied.

        :raises PayloadNotEncodable: it does not fit its description.
        """


@runtime_checkable
class Secured(Protocol):
    """A described protocol whose messages may name a table of security, [wsse.NAME]."""

    def complete_secured(self, message: Message, compiled: Any, securities: Mapping[str, Mapping[str, Any]]) -> Message:
        """Return the message as it is to be sent, as `complete` does.

        :raises PayloadNotEncodable: it does not fit its description, or its table is not there.
        """


class DocumentMissing(Ap4rError):
    """A description refers to a document that was not fetched yet."""

    def __init__(self, url: str) -> None:
        super().__init__(f"the document {url} is needed")
        self.url = url


def check_action(call: ProtocolCall, protocol: str, *, what: str) -> str:
    """Return the action of a call that must name one.

    :param what: the meaning of the action in this protocol.
    :raises OptionRefused: it has none, or is called with a `method` or `format` that this protocol does not have.
    """
    if call.method != "POST":
        advice = f"protocol={protocol!r} always uses POST; {what} is given as action="
        raise OptionRefused("method", call.method, advice)
    if call.format != "form":
        raise OptionRefused("format", call.format, f"protocol={protocol!r} has its own format; remove the option")
    action = call.action
    if not isinstance(action, str) or not action or not action.isprintable() or len(action) > 1_000:
        raise OptionRefused("action", action, f"protocol={protocol!r} needs action=, {what}")
    return str.__str__(action)


def check_options(call: ProtocolCall, protocol: str, known: Iterable[str], others: Iterable[str] = ()) -> None:
    """Refuse options that a protocol does not have.

    :param others: arguments of `async_to`, one of which may have been meant.
    """
    for name in call.options:
        if name not in (names := list(known)):
            nearest = get_close_matches(name[:100], [*names, *others], n=1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            there_are = f"those of protocol={protocol!r} are {', '.join(names)}" if names else "there are no others"
            raise OptionRefused(name, call.options[name], f"async_to has no such option; {hint}{there_are}")


def text_option(call: ProtocolCall, name: str, default: str = "") -> str:
    """Return an option that is a text.

    :raises OptionRefused: it is not a text.
    """
    value = call.options.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or not value.isprintable():
        raise OptionRefused(name, value, "give a string of printable characters")
    return str.__str__(value)


def not_a_list_or_mapping(params: object, format: str, advice: str) -> PayloadNotEncodable:
    """Return the error for params that a protocol cannot write."""
    return PayloadNotEncodable("params", params, format, advice)


def read_answer(protocol: CallProtocol, message: Message, answer: Answer) -> ResponseReading | None:
    """Return what the protocol reads in a whole answer. Never raises: the protocol's exception is a bad response."""
    try:
        reading: object = protocol.judge(answer, message)
    except Exception as error:  # noqa: BLE001 - a package's error must not prevent the message's outcome
        reading = ResponseReading(
            Reason.BAD_RESPONSE, f"protocol {message.protocol} could not read the answer: {error!r}"
        )
    if reading is None or isinstance(reading, ResponseReading):
        return reading
    return ResponseReading(Reason.BAD_RESPONSE, f"protocol {message.protocol} returned a {type(reading).__name__}")
