"""XML-RPC (http://xmlrpc.com/spec.md): written by the standard library, parsed with defusedxml."""

from __future__ import annotations

import datetime
import re
import xmlrpc.client
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.formats.plain_values import plain
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import ValuePath
from ap4r.formats.xml import xml_text
from ap4r.message.message import Message
from ap4r.outcome.response import Answer, Reason, ResponseReading
from ap4r.protocols.base import Encoded, ProtocolCall, check_action, check_options
from ap4r.protocols.response_text import xml_document
from ap4r.protocols.xml_search import Step, XmlRefused, find_part

#: http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php: errors of the caller.
CLIENT_CODES = frozenset({-32700, -32701, -32702, -32600, -32601, -32602})
# The characters that the specification allows; the standard library writes a name unescaped.
_METHOD = re.compile(r"[A-Za-z0-9_.:/]+")
LEAST_I4, MOST_I4 = -(2**31), 2**31 - 1
LEAST_I8, MOST_I8 = -(2**63), 2**63 - 1
#: The fewest characters that are written for a value beside its content, and for a member of a struct beside its name.
_AROUND_A_VALUE, _AROUND_A_MEMBER = 21, 33


class XmlRpc:
    """Calls a method of an XML-RPC server."""

    def encode(self, call: ProtocolCall) -> Encoded:
        """Write a methodCall. A list or tuple holds the parameters; anything else is the only one; None is none.

        An instant with a time zone is written in UTC, because XML-RPC has no zones. `allow_none=True` writes None as
        `<nil/>`, an extension that not every server has.

        :raises MessageError: the params cannot be written, or an option is not one of this protocol.
        """
        check_options(call, "xmlrpc", ("allow_none",))
        action = check_action(call, "xmlrpc", what="the name of the method")
        if not _METHOD.fullmatch(action):
            advice = "the name of a method has ASCII letters, digits, and _ . : / (XML-RPC allows no others)"
            raise OptionRefused("action", action, advice)
        allow_none = call.options.get("allow_none", False)
        if not isinstance(allow_none, bool):
            raise OptionRefused("allow_none", allow_none, "give True or False")
        limit = SizeLimit(call.max_body_bytes)
        tree = [] if call.params is None else plain(call.params, "xmlrpc", limit, keep=(datetime.datetime, bytes))
        checked, place = _Checked(allow_none, limit.again()), ValuePath()
        if isinstance(call.params, (list, tuple)):
            given = [checked(value, place / index) for index, value in enumerate(tree)]
        else:
            given = [] if call.params is None else [checked(tree, place)]
        text = _written(tuple(given), action, allow_none=allow_none)
        # Parsers turn a bare carriage return into a line feed (XML 1.0, 2.11).
        body = text.replace("\r", "&#13;").encode()
        return Encoded(target=call.target, headers=(("Content-Type", "text/xml; charset=utf-8"),), body=body)

    def judge(self, answer: Answer, message: Message) -> ResponseReading | None:
        """Interpret a methodResponse: params are a success, a fault is a failure; its code and text are kept."""
        well = 200 <= answer.status < 300
        try:
            found = find_part(xml_document(answer), _choose)
        except XmlRefused as error:
            return ResponseReading(Reason.BAD_RESPONSE, f"the answer is not safe XML: {error}") if well else None
        if found.element is not None:
            code, text = _fault(found.element)
            is_client = code.lstrip("-").isdecimal() and int(code[:20]) in CLIENT_CODES
            return ResponseReading(Reason.CLIENT_FAULT if is_client else Reason.FAULT, f"fault {code}: {text}")
        if not well:
            return None
        if not found.path:
            return ResponseReading(Reason.BAD_RESPONSE, f"the answer is not a methodResponse but {found.root[:100]}")
        return ResponseReading()


def _choose(path: tuple[str, ...]) -> Step:
    if path == ("methodResponse", "fault"):
        return Step.TAKE
    return Step.STOP if path == ("methodResponse", "params") else Step.ON


def _fault(element: Element) -> tuple[str, str]:
    found = {"faultCode": "?", "faultString": ""}
    for member in element.iterfind("value/struct/member"):
        name, value = member.findtext("name", "").strip(), member.find("value")
        if name in found and value is not None:
            found[name] = "".join(value.itertext()).strip()
    return found["faultCode"], found["faultString"]


class _Checked:
    """Returns plain values as the standard library can write them, and counts what it will write for them."""

    def __init__(self, allow_none: bool, limit: SizeLimit) -> None:
        self._allow_none = allow_none
        self._limit = limit

    def __call__(self, value: Any, place: ValuePath) -> Any:
        """Return a value in a form that can be written.

        :raises PayloadNotEncodable: it cannot.
        :raises PayloadTooLarge: the body would exceed the limit.
        """
        self._limit.take(_AROUND_A_VALUE)
        if value is None and not self._allow_none:
            advice = "XML-RPC has no such value; omit it, or give allow_none=True if the server accepts <nil/>"
            raise PayloadNotEncodable(str(place), value, "xmlrpc", advice)
        if isinstance(value, dict):
            for key in value:
                self._limit.take(_AROUND_A_MEMBER + len(xml_text(key, place.key(key), "xmlrpc")))
            return {key: self(inner, place / key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self(inner, place / index) for index, inner in enumerate(value)]
        if isinstance(value, datetime.datetime):
            try:
                naive = value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)
            except OverflowError:
                advice = "in UTC it is before the year 1 or after the year 9999; give another instant"
                raise PayloadNotEncodable(str(place), value, "xmlrpc", advice) from None
            # The standard library would omit the zeros of an early year.
            return xmlrpc.client.DateTime(f"{naive.year:04d}" + naive.strftime("%m%dT%H:%M:%S"))
        if isinstance(value, int) and not isinstance(value, bool):
            return self._integer(value, place)
        if isinstance(value, bytes):
            self._limit.take(len(value) * 4 // 3)
            return xmlrpc.client.Binary(value)
        if isinstance(value, str):
            self._limit.check(len(value))
            self._limit.take(len(xml_text(value, place, "xmlrpc")))
        return value

    def _integer(self, value: int, place: ValuePath) -> Any:
        if not LEAST_I8 <= value <= MOST_I8:
            advice = "an integer of XML-RPC has at most 64 bits (i8); send it as text or as a float"
            raise PayloadNotEncodable(str(place), value, "xmlrpc", advice)
        return value if LEAST_I4 <= value <= MOST_I4 else _I8(value)


class _I8:
    """An integer of more than 32 bits, which the standard library refuses to write.

    `<i8>` is the extension of Apache's XML-RPC (https://ws.apache.org/xmlrpc/types.html), in its short form, which most
    servers accept.
    """

    def __init__(self, value: int) -> None:
        self.value = value


def _write_i8(marshaller: xmlrpc.client.Marshaller, value: _I8, write: Callable[[str], object]) -> None:
    write(f"<value><i8>{value.value}</i8></value>\n")


class _Marshaller(xmlrpc.client.Marshaller):
    dispatch: Any = {**xmlrpc.client.Marshaller.dispatch, _I8: _write_i8}


def _written(given: tuple[Any, ...], action: str, *, allow_none: bool) -> str:
    params = _Marshaller("utf-8", allow_none).dumps(given)
    return f"<?xml version='1.0'?>\n<methodCall>\n<methodName>{action}</methodName>\n{params}</methodCall>\n"
