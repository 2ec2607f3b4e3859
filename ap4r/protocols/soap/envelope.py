"""The envelope of a SOAP call: written at once without a WSDL, or kept with its types until the WSDL is fetched."""

from __future__ import annotations

import base64
import datetime
import decimal
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.formats.plain_values import plain
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import ValuePath
from ap4r.formats.xml import DECLARATION, AnyElement, element_bytes, is_element, xml_name, xml_text
from ap4r.message.target import parse_target
from ap4r.protocols.base import Encoded, ProtocolCall, text_option
from ap4r.protocols.soap import typed_json
from ap4r.settings.soap_security import SECURITY_NAME

NAMESPACES = {
    "1.1": "http://schemas.xmlsoap.org/soap/envelope/",
    "1.2": "http://www.w3.org/2003/05/soap-envelope",
}
#: Marks a message that waits for its WSDL; the dispatcher replaces it by the envelope.
UNWRITTEN = "application/vnd.ap4r.soap+json"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_QUALIFIED = re.compile(r"\{([^{}\s]+)\}(.+)", re.DOTALL)
_TYPES = (datetime.datetime, datetime.date, datetime.time, decimal.Decimal, bytes, AnyElement)


def headers_of(version: str, soap_action: str) -> tuple[tuple[str, str], ...]:
    """Return the headers of a request: the action is in SOAPAction (1.1) or in the content type (1.2)."""
    quoted = '"' + soap_action.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if version == "1.1":
        return ("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", quoted)
    return (("Content-Type", f"application/soap+xml; charset=utf-8; action={quoted}"),)


def plain_call(call: ProtocolCall, action: str) -> Encoded:
    """Write a call without a WSDL.

    :raises MessageError: the params or the header cannot be written, or have too many bytes.
    """
    version = text_option(call, "version", "1.1")
    if version not in NAMESPACES:
        raise OptionRefused("version", version, "give '1.1' or '1.2'")
    namespace = text_option(call, "namespace")
    limit = SizeLimit(call.max_body_bytes)
    if is_element(call.params):
        content = element_bytes(call.params).decode()
        limit.take(len(content))
    else:
        tree = plain(call.params, "soap", limit, keep=(bytes,))
        if not isinstance(tree, (dict, type(None))):
            advice = "give a mapping, an Element, or a wsdl="
            raise PayloadNotEncodable("params", call.params, "soap", advice)
        place = ValuePath()
        xml_name(action, place, "soap")
        inner = (piece for key, value in (tree or {}).items() for piece in _element(key, value, place))
        content = f"<{action}{_declared(namespace)}>{limit.again().joined(inner)}</{action}>"
    header = _header(call, namespace, limit.again())
    text = (
        f'{DECLARATION}<soap:Envelope xmlns:soap="{NAMESPACES[version]}" xmlns:xsi="{_XSI}">'
        f"{header}<soap:Body>{content}</soap:Body></soap:Envelope>"
    )
    headers = headers_of(version, text_option(call, "soap_action", action))
    return Encoded(target=call.target, headers=headers, body=text.encode())


def typed_call(call: ProtocolCall, action: str, wsdl: object) -> Encoded:
    """Write a call that waits for its WSDL, with the types of its params.

    :raises MessageError: the params or the header cannot be written, or have too many bytes.
    """
    if not isinstance(wsdl, str):
        raise OptionRefused("wsdl", wsdl, "give the URL of a WSDL, or its path on an upstream, as a target is given")
    params, limit = call.params, SizeLimit(call.max_body_bytes)
    if params is not None and not isinstance(params, (str, bytes)):
        params = plain(params, "soap", limit, keep=_TYPES)
    if not isinstance(params, (dict, list, type(None))):
        raise PayloadNotEncodable("params", call.params, "soap", "with a WSDL give a mapping, or a list by position")
    written = {
        "wsdl": str(parse_target(wsdl)[0]),
        "action": action,
        "service": text_option(call, "service") or None,
        "port": text_option(call, "port") or None,
        "params": typed_json.tagged(params, ValuePath(), limit),
    }
    header = call.options.get("header")
    if header is not None:
        given = [header] if is_element(header) else header
        if not isinstance(given, (Mapping, list, tuple)):
            raise _no_header(header)
        written["header"] = typed_json.tagged(plain(given, "soap", limit, keep=_TYPES), ValuePath(), limit)
    security = text_option(call, "wsse")
    if security:
        if not SECURITY_NAME.fullmatch(security):
            raise OptionRefused("wsse", security, "give the NAME of a table [wsse.NAME] of the dispatcher's settings")
        written["wsse"] = security
    return Encoded(target=call.target, headers=(("Content-Type", UNWRITTEN),), body=typed_json.write(written))


def _header(call: ProtocolCall, namespace: str, limit: SizeLimit) -> str:
    """Write the header of an envelope: "" if none is given."""
    header = call.options.get("header")
    if header is None:
        return ""
    blocks = header if isinstance(header, (list, tuple)) else [header]
    pieces = (piece for block in blocks for piece in _block(block, namespace, limit))
    return f"<soap:Header>{limit.again().joined(pieces)}</soap:Header>"


def _block(block: object, namespace: str, limit: SizeLimit) -> Iterator[str]:
    if is_element(block):
        yield element_bytes(block).decode()
    elif isinstance(block, Mapping):
        for key, value in plain(block, "soap", limit, keep=(bytes,)).items():
            qualified = _QUALIFIED.fullmatch(key)
            own, name = qualified.groups() if qualified else (namespace, key)
            yield from _element(name, value, ValuePath(), _declared(own))
    else:
        raise _no_header(block)


def _no_header(header: object) -> OptionRefused:
    return OptionRefused("header", header, "give a mapping, an Element, or a list of them")


def _declared(namespace: str) -> str:
    return f" xmlns={quoteattr(namespace)}" if namespace else ""


def _element(key: str, value: Any, place: ValuePath, declared: str = "") -> Iterator[str]:
    """Write a value as elements of one name, in the notation of XML Schema; a list is one element for each item."""
    name, here = xml_name(key, place, "soap"), place / key
    for index, one in enumerate(value) if isinstance(value, list) else ((None, value),):
        there = here if index is None else here / index
        if one is None:
            yield f'<{name}{declared} xsi:nil="true"/>'
        elif isinstance(one, dict):
            yield f"<{name}{declared}>"
            for inner_key, inner in one.items():
                yield from _element(inner_key, inner, there)
            yield f"</{name}>"
        elif isinstance(one, list):
            raise PayloadNotEncodable(str(there), one, "soap", "a list of elements holds no other list")
        else:
            yield f"<{name}{declared}>{xml_text(_spelled(one), there, 'soap')}</{name}>"


def _spelled(value: str | bool | int | float | bytes) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value if isinstance(value, str) else repr(value)
