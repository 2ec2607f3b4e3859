"""SOAP 1.1 and 1.2: a plain envelope from an action and its params, or one by a WSDL, written by the dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from json.decoder import JSONDecoder
from typing import Any
from xml.etree.ElementTree import Element

from ap4r.errors import OptionRefused
from ap4r.message.message import Message
from ap4r.message.target import MAX_URL_BYTES
from ap4r.outcome.response import Answer, Reason, ResponseReading
from ap4r.protocols.base import Encoded, ProtocolCall, check_action, check_options
from ap4r.protocols.response_text import xml_document
from ap4r.protocols.soap import typed_json
from ap4r.protocols.soap.envelope import NAMESPACES, UNWRITTEN, plain_call, typed_call
from ap4r.protocols.xml_search import SearchEnd, Step, XmlRefused, find_part

#: The beginning of a call that waits for its WSDL, which the dispatcher reads before it fetches the WSDL.
_FIRST = b'{"wsdl":"'
_LONGEST_URL = 6 * MAX_URL_BYTES + 100
_OPTIONS = ("wsdl", "version", "namespace", "soap_action", "service", "port", "header", "wsse")
_PLAIN_ONLY, _WSDL_ONLY = ("version", "namespace", "soap_action"), ("service", "port", "wsse")
# SOAP 1.1, 4.4.1, and SOAP 1.2, 5.4.6: errors of the caller. The others are the server's.
_CLIENT_CODES = ("Client", "Sender", "VersionMismatch", "MustUnderstand", "DataEncodingUnknown")


class Soap:
    """Calls an operation of a SOAP service."""

    def encode(self, call: ProtocolCall) -> Encoded:
        """Write the envelope; with `wsdl`, keep the params with their types until the dispatcher writes it.

        :raises MessageError: the params cannot be written, or an option is not one of this protocol.
        """
        check_options(call, "soap", _OPTIONS)
        action = check_action(call, "soap", what="the name of the operation")
        wsdl = call.options.get("wsdl")
        for name in _WSDL_ONLY if wsdl is None else _PLAIN_ONLY:
            if call.options.get(name) is not None:
                advice = "the WSDL defines it" if wsdl is not None else "it needs wsdl="
                raise OptionRefused(name, call.options[name], advice)
        return plain_call(call, action) if wsdl is None else typed_call(call, action, wsdl)

    def judge(self, answer: Answer, message: Message) -> ResponseReading | None:
        """Interpret an envelope: a fault in its body is a failure with a code and a text; all else is a success."""
        well = 200 <= answer.status < 300
        if well and not answer.body.strip():
            # A one-way operation is answered 202 with an empty body (WS-I Basic Profile 1.1, R2714).
            return ResponseReading()
        try:
            found = find_part(xml_document(answer), _choose)
        except XmlRefused as error:
            return ResponseReading(Reason.BAD_RESPONSE, f"the answer is not safe XML: {error}") if well else None
        if found.element is not None:
            return _reading_of_fault(found)
        if not well:
            return None
        if found.root not in _ENVELOPES:
            return ResponseReading(Reason.BAD_RESPONSE, f"the answer is not a SOAP envelope but {found.root[:200]}")
        return ResponseReading()

    def description_of(self, message: Message) -> str | None:
        """Return the WSDL that the dispatcher needs for this message."""
        if ("Content-Type", UNWRITTEN) not in message.headers:
            return None
        # Only its first value, because the rest may be long.
        if message.body.startswith(_FIRST):
            start = message.body[:_LONGEST_URL].decode("utf-8", "replace")
            return str(JSONDecoder().raw_decode(start, len(_FIRST) - 1)[0])
        return str(typed_json.read(message.body)["wsdl"])

    def compile(self, url: str, documents: Mapping[str, bytes]) -> Any:
        """Parse a WSDL and everything that it refers to.

        :raises DocumentMissing: another document is needed first.
        """
        from ap4r.protocols.soap.wsdl import (
            Wsdl,  # zeep takes a second and much memory; most dispatchers need none of it
        )

        return Wsdl(url, documents)

    def complete(self, message: Message, compiled: Any) -> Message:
        """Write the envelope of a message by its WSDL.

        :raises PayloadNotEncodable: the operation or the params do not fit the WSDL.
        """
        return self.complete_secured(message, compiled, {})

    def complete_secured(self, message: Message, compiled: Any, securities: Mapping[str, Mapping[str, Any]]) -> Message:
        """Write the envelope, with the header Security that the message names.

        :raises PayloadNotEncodable: the operation or the params do not fit the WSDL, or the table is not there.
        """
        written: Message = compiled.complete(message, typed_json.read(message.body), securities)
        return written


_ENVELOPES = frozenset(f"{{{namespace}}}Envelope" for namespace in NAMESPACES.values())
_BODIES = frozenset(f"{{{namespace}}}Body" for namespace in NAMESPACES.values())
_FAULTS = frozenset(f"{{{namespace}}}Fault" for namespace in NAMESPACES.values())


def _choose(path: tuple[str, ...]) -> Step:
    if len(path) < 3 or path[0] not in _ENVELOPES or path[1] not in _BODIES:
        return Step.ON
    return Step.TAKE if path[2] in _FAULTS else Step.STOP


def _reading_of_fault(found: SearchEnd) -> ResponseReading:
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
    text_of_fault = f"fault {' '.join(names)}: {text.strip()}" + (f" ({more})" if more else "")
    return ResponseReading(Reason.CLIENT_FAULT if is_client else Reason.FAULT, text_of_fault)


def _text_of(detail: Element | None) -> str:
    return "" if detail is None else " ".join(text.strip() for text in detail.itertext() if text.strip())
