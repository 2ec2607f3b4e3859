"""A WSDL, parsed by zeep (the extra `ap4r[soap]`) from fetched documents: zeep itself fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxml import etree
from zeep import Client, Settings
from zeep.exceptions import Error
from zeep.loader import absolute_location
from zeep.wsdl.bindings.soap import Soap12Binding, SoapBinding

from ap4r.errors import PayloadNotEncodable
from ap4r.message.message import Message
from ap4r.protocols.base import DocumentMissing
from ap4r.protocols.soap.envelope import UNWRITTEN, headers_of

_WSDL = "http://schemas.xmlsoap.org/wsdl/"


class _Served:
    """The transport of zeep: it returns the fetched documents, and sends nothing."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    def load(self, url: str) -> bytes:
        """Return a document.

        :raises DocumentMissing: it was not fetched.
        """
        if url not in self._documents:
            raise DocumentMissing(url)
        return self._documents[url]


def check_imports(url: str, documents: Mapping[str, bytes]) -> None:
    """Check that no WSDL, nor one that it imports, imports itself under a namespace that is not its own.

    zeep would parse such a document again for each import, without end. Documents that were not fetched are skipped.

    :raises ValueError: the text names the document.
    """
    namespaces: dict[str, str | None] = {}
    imports: dict[str, list[tuple[str | None, str]]] = {}
    for one, body in documents.items():
        root = _root_of(body) if b"import" in body else None
        if root is not None and root.tag == f"{{{_WSDL}}}definitions":
            namespaces[one] = root.get("targetNamespace")
            imports[one] = [
                (found.get("namespace"), absolute_location(found.get("location"), one))
                for found in root.findall(f"{{{_WSDL}}}import")
                if found.get("location")
            ]
    # A document that is imported under its own namespace is parsed only once.
    again = {
        one: [location for namespace, location in found if location in imports and namespace != namespaces[location]]
        for one, found in imports.items()
    }
    done: set[str] = set()
    for first in again:
        path, left = [first], [iter(again[first])]
        while path:
            location = next(left[-1], None)
            if location is None:
                done.add(path.pop())
                left.pop()
            elif location in path:
                through = path[path.index(location) + 1 :]
                by = f" by way of {' and '.join(through)}" if through else ""
                raise ValueError(
                    f"{location} imports itself{by}, under another namespace than its own ({namespaces[location]})"
                )
            elif location not in done:
                path.append(location)
                left.append(iter(again[location]))


def _root_of(body: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return None  # zeep's error is clearer


class Wsdl:
    """A parsed description, which writes envelopes.

    :raises Exception: as zeep does for invalid documents; ValueError for a description without a service.
    """

    def __init__(self, url: str, documents: Mapping[str, bytes]) -> None:
        # `_Served` returns what a WSDL imports too, so "external" documents are only fetched ones.
        check_imports(url, documents)
        settings = Settings(forbid_dtd=True, forbid_entities=True, forbid_external=False, xml_huge_tree=False)
        self._client = Client(url, transport=_Served(documents), settings=settings)
        if not self._client.wsdl.services:
            # zeep parses any XML, such as a page that replaces the server while it is away.
            raise ValueError("it has no services, so it is not a WSDL")

    def complete(
        self, message: Message, call: Mapping[str, Any], securities: Mapping[str, Mapping[str, Any]] = {}
    ) -> Message:
        """Return the message with its envelope, and the headers that belong to it.

        :param securities: the tables [wsse.NAME], one of which the message may name.
        :raises PayloadNotEncodable: the service, the operation or the params are not in the WSDL.
        """
        try:
            service = self._client.bind(call["service"], call["port"])
            binding = service._binding
            if not isinstance(binding, SoapBinding):
                raise ValueError("its first port is not a SOAP port; name one with port=")
            operation = binding.get(call["action"])
            given = call["params"]
            args, kwargs = (given, {}) if isinstance(given, list) else ((), dict(given or {}))
            if "header" in call:
                kwargs["_soapheaders"] = call["header"]
            envelope = self._client.create_message(service, call["action"], *args, **kwargs)
        except (Error, TypeError, ValueError, KeyError, AttributeError, LookupError, ArithmeticError) as error:
            advice = f"it does not fit the WSDL {call['wsdl']}: {type(error).__name__}: {error}"
            raise PayloadNotEncodable(call["action"], call["params"], "soap", advice) from error
        version = "1.2" if isinstance(binding, Soap12Binding) else "1.1"
        mine = headers_of(version, operation.soapaction or "")
        names = {name.lower() for name, _ in mine}
        others = tuple(
            (name, value)
            for name, value in message.headers
            if (name, value) != ("Content-Type", UNWRITTEN) and name.lower() not in names
        )
        if call.get("wsse"):
            self._secure(envelope, call, securities)
        body: bytes = etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
        return message._replace(headers=others + mine, body=body)

    def _secure(self, envelope: Any, call: Mapping[str, Any], securities: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the header Security by the table that the message names."""
        name = call["wsse"]
        try:
            if name not in securities:
                raise ValueError("the dispatcher's settings do not have this table")
            from ap4r.protocols.soap.ws_security import security_of

            security_of(securities[name]).apply(envelope, {})
        except Exception as error:
            # xmlsec and OpenSSL raise errors of their own for malformed keys.
            problem = f"it cannot be secured by [wsse.{name}]: {type(error).__name__}: {error}"
            raise PayloadNotEncodable(call["action"], call["params"], "soap", problem) from error
