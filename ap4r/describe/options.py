"""The options of a message: one row each, from which everything that lists, checks or parses options is made.

These are the arguments of `async_to` and of the builder, the fields of the intake's JSON with their OpenAPI schemas,
the options of X-AP4R, and the tables of the documentation. A new option is a row here, an argument of `async_to`, and
its place in `describe_message`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ap4r.describe.option_kinds import (
    MAX_INTEGER,
    Choice,
    Instant,
    Members,
    Method,
    OptionKind,
    Seconds,
    WholeNumber,
)
from ap4r.formats import FORMATS
from ap4r.message.depth import DEPTH
from ap4r.message.message import HTTP, Delivery

PRIORITY = "Ap4r-Priority"  #: the header that carries the priority
_MAX_PRIORITY = 1_000
_TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOption:
    """One option of a message."""

    name: str  #: in `async_to` and in the intake's JSON, and of the message's attribute
    kind: OptionKind
    doc: str  #: what it is, in Markdown, for the table of `async_to`
    default: object = None  #: of the argument; None if a setting or the target decides
    default_doc: str = ""  #: the default in the documentation
    json_doc: str = ""  #: what it is for callers of the intake, if that differs from `doc`
    in_builder: bool = True  #: `header()` of the builder accepts it
    in_json: bool = True  #: the intake's JSON has it
    in_async_to: bool = True  #: `async_to` has it
    ap4r_name: str = ""  #: its name for `header()` in AP4R
    x_ap4r: str = ""  #: its name in X-AP4R
    x_ap4r_doc: str = ""  #: what it is there
    is_plain: bool = False  #: the message's attribute is a JSON value, written where it is not the default
    carried_in: str = ""  #: the header of the delivery that carries it
    column: str = ""  #: of the table of messages; "" for what its lane, its body or its headers hold


OPTIONS = (
    MessageOption(
        name="queue",
        kind=OptionKind({**_TEXT, "minLength": 1, "maxLength": 128}),
        doc="the name of the queue",
        default_doc="derived from the target",
        ap4r_name="queue_name",
    ),
    MessageOption(
        name="method",
        kind=Method(),
        doc="the HTTP method",
        default="POST",
        ap4r_name="target_method",
        x_ap4r="target_method",
        x_ap4r_doc="the method, `POST` by default",
        column="method",
    ),
    MessageOption(
        name="headers",
        kind=OptionKind({"type": "object", "additionalProperties": _TEXT}),
        doc="a mapping of further headers; those of the connection (`Host`, `Connection` …) and of ap4r itself are "
        "refused",
        default_doc="none",
        in_builder=False,
        column="headers",
    ),
    MessageOption(
        name="format",
        kind=Choice(FORMATS),
        doc='`"form"`, `"json"`, `"text"`, `"xml"`, `"yaml"`, `"multipart"` or `"raw"`: [formats](calling.md#formats)',
        default="form",
        json_doc="How params are written; yaml if the dispatcher has PyYAML.",
        in_builder=False,
    ),
    MessageOption(
        name="protocol",
        kind=OptionKind({**_TEXT, "minLength": 1, "maxLength": 32}),
        doc='`"http"`, `"xmlrpc"`, `"jsonrpc"` or `"soap"`: [protocols](calling.md#protocols)',
        default=HTTP,
        json_doc="How it is called: http, xmlrpc, jsonrpc, soap. With base64 the call is written already.",
        ap4r_name="dispatch_mode",
        column="protocol",
    ),
    MessageOption(
        name="action",
        kind=OptionKind({**_TEXT, "minLength": 1, "maxLength": 1_000}),
        doc="what is called at the target, by protocols other than `http`",
        default_doc="none",
        json_doc="What is called; not for http.",
    ),
    MessageOption(
        name="options",
        kind=Members(),
        doc="the options of the protocol",
        json_doc="The options of the protocol, such as wsdl.",
        in_builder=False,
        in_async_to=False,  # they are arguments of their own there
    ),
    MessageOption(
        name="priority",
        kind=WholeNumber(-_MAX_PRIORITY, _MAX_PRIORITY),
        doc="an integer from -1,000 to 1,000, sent to the target as `Ap4r-Priority`; it does not order the calls",
        default_doc="none",
        x_ap4r="priority",
        x_ap4r_doc="`priority`, an integer, sent to the target",
        carried_in=PRIORITY,
    ),
    MessageOption(
        name="depth",
        kind=WholeNumber(0, MAX_INTEGER),
        doc="how many deliveries have led to it",
        json_doc="For a message that a delivery asks for: one more than the Ap4r-Depth of that delivery.",
        in_builder=False,
        in_async_to=False,  # the handle knows it
        carried_in=DEPTH,
    ),
    MessageOption(
        name="delivery",
        kind=Choice(tuple(str(one.value) for one in Delivery)),
        doc='`"repeated"`, `"once"` or `"best_effort"`: [what a failure '
        "means](guarantees.md#what-happens-to-a-stored-message)",
        default=Delivery.REPEATED.value,
        json_doc="What a failure means.",
        x_ap4r="delivery",
        x_ap4r_doc="`repeated`, `once` or `best_effort`; unlike in AP4R, the default is `repeated`",
        column="delivery",
    ),
    MessageOption(
        name="delay_seconds",
        kind=Seconds(or_zero=True),
        doc="call no earlier than this time after the commit",
        default_doc="at once",
        x_ap4r="activates",
        x_ap4r_doc="seconds until the first call",
        is_plain=True,
        column="first_due_at",
    ),
    MessageOption(
        name="deliver_at",
        kind=Instant(),
        doc="the same as an instant: a `datetime` with a time zone, or Unix seconds; not together with `delay_seconds`",
        default_doc="at once",
        json_doc="Unix seconds, or an instant with its zone; not together with delay_seconds.",
        x_ap4r="activates_at",
        x_ap4r_doc="Unix seconds of the first call",
        is_plain=True,
        column="first_due_at",
    ),
    MessageOption(
        name="expires_seconds",
        kind=Seconds(),
        doc="begin no call later than this time after the commit; more than `delay_seconds`",
        default_doc="never",
        x_ap4r="expires",
        x_ap4r_doc="seconds after which it is no longer called",
        is_plain=True,
        column="expires_at",
    ),
    MessageOption(
        name="max_deliveries",
        kind=WholeNumber(1, MAX_INTEGER),
        doc="number of failures after which the message is dead",
        default_doc="the setting",
        x_ap4r="max_deliveries",
        x_ap4r_doc="number of failures after which it is dead",
        is_plain=True,
        column="max_deliveries",
    ),
    MessageOption(
        name="timeout_seconds",
        kind=Seconds(),
        doc="the deadline of one whole exchange, including the connection",
        default_doc="the setting",
        is_plain=True,
        column="timeout_seconds",
    ),
    MessageOption(
        name="on",
        kind=Choice(("success", "failure", "always")),
        doc='`"success"`, `"failure"` or `"always"`: [which verdict stores it](guarantees.md#when-a-message-is-stored)',
        default="success",
        in_json=False,
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}
_CHECKS = {option.name: option.kind.check for option in OPTIONS}


def check_option(name: str, value: Any) -> Any:
    """Return an option's value as the message has it.

    :raises OptionRefused: the value is not of the option's kind.
    """
    return _CHECKS[name](name, value)
