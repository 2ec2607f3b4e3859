"""XML-RPC (http://xmlrpc.com/spec.md): written by the standard library, read with defusedxml."""

from __future__ import annotations

import datetime
import re
import xmlrpc.client
from typing import Any
from xml.etree.ElementTree import Element

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.exchange import Answer, Reading, Reason
from ap4r.formats.place import Place
from ap4r.formats.plain import plain
from ap4r.formats.xml import xml_text
from ap4r.message import Message
from ap4r.protocols.protocol import Call, Encoded, check_action, check_options
from ap4r.protocols.xml_part import Step, XmlRefused, find_part

#: http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php: what the caller did wrong.
CLIENT_CODES = frozenset({-32700, -32701, -32702, -32600, -32601, -32602})
# What the specification allows; and the standard library writes a name unescaped.
_METHOD = re.compile(r"[A-Za-z0-9_.:/]+")
_LEAST, _MOST = -(2**31), 2**31 - 1


class XmlRpc:
    """Calls a method of an XML-RPC server."""

    def encode(self, call: Call) -> Encoded:
        """Write a methodCall. A list or tuple holds the parameters; anything else is the only one; None is none.

        An instant with a time zone is written in UTC, for XML-RPC has no zones. `allow_none=True` writes None as
        `<nil/>`, an extension that not every server knows.

        :raises MessageError: the params cannot be written, or an option means nothing here.
        """
        check_options(call, "xmlrpc", ("allow_none",))
        action = check_action(call, "xmlrpc", what="the name of the method")
        if not _METHOD.fullmatch(action):
            advice = "the name of a method has ASCII letters, digits, and _ . : / (XML-RPC allows no others)"
            raise OptionRefused("action", action, advice)
        allow_none = call.options.get("allow_none", False)
        if not isinstance(allow_none, bool):
            raise OptionRefused("allow_none", allow_none, "give True or False")
        tree = [] if call.params is None else plain(call.params, "xmlrpc", keep=(datetime.datetime, bytes))
        place = Place()
        if isinstance(call.params, (list, tuple)):
            given = [_checked(value, place / index, allow_none) for index, value in enumerate(tree)]
        else:
            given = [] if call.params is None else [_checked(tree, place, allow_none)]
        text = xmlrpc.client.dumps(tuple(given), action, encoding="utf-8", allow_none=allow_none)
        # Readers make a bare carriage return a line feed (XML 1.0, 2.11).
        body = text.replace("\r", "&#13;").encode()
        return Encoded(target=call.target, headers=(("Content-Type", "text/xml; charset=utf-8"),), body=body)

    def judge(self, answer: Answer, message: Message) -> Reading | None:
        """Read a methodResponse: params are success, a fault is failure; its code and text are kept."""
        well = 200 <= answer.status < 300
        try:
            found = find_part(answer.body, _choose)
        except XmlRefused as error:
            return Reading(Reason.BAD_RESPONSE, f"the answer is no XML to trust: {error}") if well else None
        if found.element is not None:
            code, text = _fault(found.element)
            is_client = code.lstrip("-").isdecimal() and int(code[:20]) in CLIENT_CODES
            return Reading(Reason.CLIENT_FAULT if is_client else Reason.FAULT, f"fault {code}: {text}")
        if not well:
            return None
        if not found.path:
            return Reading(Reason.BAD_RESPONSE, f"the answer is no methodResponse but {found.root[:100]}")
        return Reading()


def _choose(path: tuple[str, ...]) -> Step:
    if path == ("methodResponse", "fault"):
        return Step.TAKE
    return Step.STOP if path == ("methodResponse", "params") else Step.ON


def _fault(element: Element) -> tuple[str, str]:
    told = {"faultCode": "?", "faultString": ""}
    for member in element.iterfind("value/struct/member"):
        name, value = member.findtext("name", "").strip(), member.find("value")
        if name in told and value is not None:
            told[name] = "".join(value.itertext()).strip()
    return told["faultCode"], told["faultString"]


def _checked(value: Any, place: Place, allow_none: bool) -> Any:
    """Give a plain value as the standard library can write it."""
    if value is None and not allow_none:
        advice = "XML-RPC has no such value; leave it out, or give allow_none=True if the server knows <nil/>"
        raise PayloadNotEncodable(str(place), value, "xmlrpc", advice)
    if isinstance(value, dict):
        for key in value:
            xml_text(key, place.key(key), "xmlrpc")
        return {key: _checked(inner, place / key, allow_none) for key, inner in value.items()}
    if isinstance(value, list):
        return [_checked(inner, place / index, allow_none) for index, inner in enumerate(value)]
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        advice = "an integer has 32 bits there; send it as text or as a float"
        raise PayloadNotEncodable(str(place), value, "xmlrpc", advice)
    if isinstance(value, datetime.datetime):
        naive = value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)
        # The standard library would leave out the zeros of an early year.
        return xmlrpc.client.DateTime(f"{naive.year:04d}" + naive.strftime("%m%dT%H:%M:%S"))
    if isinstance(value, bytes):
        return xmlrpc.client.Binary(value)
    if isinstance(value, str):
        xml_text(value, place, "xmlrpc")
    return value
