"""SOAP 1.1 and 1.2: a plain envelope from an action and its params, or one after a WSDL, written by the dispatcher."""

from __future__ import annotations

import base64
import datetime
import decimal
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.exchange import Answer, Reading, Reason
from ap4r.formats.place import Place
from ap4r.formats.plain import plain
from ap4r.formats.xml import DECLARATION, element_bytes, is_element, xml_name, xml_text
from ap4r.message import Message
from ap4r.protocols import typed
from ap4r.protocols.protocol import Call, Encoded, check_action, check_options, text_option
from ap4r.protocols.xml_part import Found, Step, XmlRefused, find_part
from ap4r.target import parse_target

NAMESPACES = {
    "1.1": "http://schemas.xmlsoap.org/soap/envelope/",
    "1.2": "http://www.w3.org/2003/05/soap-envelope",
}
#: A message that waits for its WSDL; the dispatcher writes the envelope in its place.
UNWRITTEN = "application/vnd.ap4r.soap+json"
_OPTIONS = ("wsdl", "version", "namespace", "soap_action", "service", "port")
_PLAIN_ONLY, _WSDL_ONLY = ("version", "namespace", "soap_action"), ("service", "port")
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
# SOAP 1.1, 4.4.1, and SOAP 1.2, 5.4.6: what the caller did wrong. The others are the server's.
_CLIENT_CODES = ("Client", "Sender", "VersionMismatch", "MustUnderstand", "DataEncodingUnknown")


class Soap:
    """Calls an operation of a SOAP service."""

    def encode(self, call: Call) -> Encoded:
        """Write the envelope; with `wsdl`, keep the params with their types until the dispatcher writes it.

        :raises MessageError: the params cannot be written, or an option means nothing here.
        """
        check_options(call, "soap", _OPTIONS)
        action = check_action(call, "soap", what="the name of the operation")
        wsdl = call.options.get("wsdl")
        for name in _WSDL_ONLY if wsdl is None else _PLAIN_ONLY:
            if call.options.get(name) is not None:
                advice = "it is told by the WSDL" if wsdl is not None else "it means something with wsdl= only"
                raise OptionRefused(name, call.options[name], advice)
        return _plain_call(call, action) if wsdl is None else _typed_call(call, action, wsdl)

    def judge(self, answer: Answer, message: Message) -> Reading | None:
        """Read an envelope: a fault in its body is failure, its code and text are kept; anything else is success."""
        well = 200 <= answer.status < 300
        if well and not answer.body.strip():
            # A one-way operation is answered 202 with nothing (WS-I Basic Profile 1.1, R2714).
            return Reading()
        try:
            found = find_part(answer.body, _choose)
        except XmlRefused as error:
            return Reading(Reason.BAD_RESPONSE, f"the answer is no XML to trust: {error}") if well else None
        if found.element is not None:
            return _reading_of_fault(found)
        if not well:
            return None
        if found.root not in _ENVELOPES:
            return Reading(Reason.BAD_RESPONSE, f"the answer is no SOAP envelope but {found.root[:200]}")
        return Reading()

    def description_of(self, message: Message) -> str | None:
        """Name the WSDL that the dispatcher needs for this message."""
        if ("Content-Type", UNWRITTEN) not in message.headers:
            return None
        return str(typed.read(message.body)["wsdl"])

    def compile(self, url: str, documents: Mapping[str, bytes]) -> Any:
        """Read a WSDL and all that it refers to.

        :raises DocumentMissing: another document is needed first.
        """
        from ap4r.protocols.wsdl import Wsdl  # zeep takes a second and much memory; most dispatchers need none of it

        return Wsdl(url, documents)

    def complete(self, message: Message, compiled: Any) -> Message:
        """Write the envelope of a message after its WSDL.

        :raises PayloadNotEncodable: the operation or the params do not fit the WSDL.
        """
        written: Message = compiled.complete(message, typed.read(message.body))
        return written


_ENVELOPES = frozenset(f"{{{namespace}}}Envelope" for namespace in NAMESPACES.values())
_BODIES = frozenset(f"{{{namespace}}}Body" for namespace in NAMESPACES.values())
_FAULTS = frozenset(f"{{{namespace}}}Fault" for namespace in NAMESPACES.values())


def headers_of(version: str, soap_action: str) -> tuple[tuple[str, str], ...]:
    """Give the headers of a request: the action stands in SOAPAction (1.1) or in the content type (1.2)."""
    quoted = '"' + soap_action.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if version == "1.1":
        return ("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", quoted)
    return (("Content-Type", f"application/soap+xml; charset=utf-8; action={quoted}"),)


def _plain_call(call: Call, action: str) -> Encoded:
    version = text_option(call, "version", "1.1")
    if version not in NAMESPACES:
        raise OptionRefused("version", version, "give '1.1' or '1.2'")
    namespace = text_option(call, "namespace")
    if is_element(call.params):
        content = element_bytes(call.params).decode()
    else:
        tree = plain(call.params, "soap", keep=(bytes,))
        if not isinstance(tree, (dict, type(None))):
            advice = "give a mapping, an Element, or a wsdl="
            raise PayloadNotEncodable("params", call.params, "soap", advice)
        place = Place()
        xml_name(action, place, "soap")
        told = f" xmlns={quoteattr(namespace)}" if namespace else ""
        inner = (piece for key, value in (tree or {}).items() for piece in _element(key, value, place))
        content = f"<{action}{told}>{''.join(inner)}</{action}>"
    text = (
        f'{DECLARATION}<soap:Envelope xmlns:soap="{NAMESPACES[version]}" xmlns:xsi="{_XSI}">'
        f"<soap:Body>{content}</soap:Body></soap:Envelope>"
    )
    headers = headers_of(version, text_option(call, "soap_action", action))
    return Encoded(target=call.target, headers=headers, body=text.encode())


def _element(key: str, value: Any, place: Place) -> Iterator[str]:
    """Write a value as elements of one name, spelled as in XML Schema; a list is as many of them as it has items."""
    name, here = xml_name(key, place, "soap"), place / key
    for index, one in enumerate(value) if isinstance(value, list) else ((None, value),):
        there = here if index is None else here / index
        if one is None:
            yield f'<{name} xsi:nil="true"/>'
        elif isinstance(one, dict):
            yield f"<{name}>"
            for inner_key, inner in one.items():
                yield from _element(inner_key, inner, there)
            yield f"</{name}>"
        elif isinstance(one, list):
            raise PayloadNotEncodable(str(there), one, "soap", "a list of elements holds no other list")
        else:
            yield f"<{name}>{xml_text(_spelled(one), there, 'soap')}</{name}>"


def _spelled(value: str | bool | int | float | bytes) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value if isinstance(value, str) else repr(value)


def _typed_call(call: Call, action: str, wsdl: object) -> Encoded:
    if not isinstance(wsdl, str):
        raise OptionRefused("wsdl", wsdl, "give the URL of a WSDL, or its path on an upstream, as a target is given")
    params = call.params
    if params is not None and not isinstance(params, (str, bytes)):
        params = plain(params, "soap", keep=(datetime.datetime, datetime.date, datetime.time, decimal.Decimal, bytes))
    if not isinstance(params, (dict, list, type(None))):
        raise PayloadNotEncodable("params", call.params, "soap", "with a WSDL give a mapping, or a list by position")
    told = {
        "wsdl": str(parse_target(wsdl)[0]),
        "action": action,
        "service": text_option(call, "service") or None,
        "port": text_option(call, "port") or None,
        "params": typed.tagged(params, Place()),
    }
    return Encoded(target=call.target, headers=(("Content-Type", UNWRITTEN),), body=typed.write(told))


def _choose(path: tuple[str, ...]) -> Step:
    if len(path) < 3 or path[0] not in _ENVELOPES or path[1] not in _BODIES:
        return Step.ON
    return Step.TAKE if path[2] in _FAULTS else Step.STOP


def _reading_of_fault(found: Found) -> Reading:
    fault, namespace = found.element, found.root[1:].partition("}")[0]
    assert fault is not None
    if namespace == NAMESPACES["1.1"]:
        code, text, detail = fault.findtext("faultcode", ""), fault.findtext("faultstring", ""), fault.find("detail")
        codes = [code]
    else:
        here = f"{{{namespace}}}"
        codes = [value.text or "" for value in fault.iterfind(f"{here}Code//{here}Value")]
        text = fault.findtext(f"{here}Reason/{here}Text", "")
        detail = fault.find(f"{here}Detail")
    names = [code.strip().rpartition(":")[2] for code in codes] or [""]
    is_client = names[0].partition(".")[0] in _CLIENT_CODES
    more = _text_of(detail)
    told = f"fault {' '.join(names)}: {text.strip()}" + (f" ({more})" if more else "")
    return Reading(Reason.CLIENT_FAULT if is_client else Reason.FAULT, told)


def _text_of(detail: Element | None) -> str:
    return "" if detail is None else " ".join(text.strip() for text in detail.itertext() if text.strip())
