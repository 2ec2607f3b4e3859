"""Computations with a description (a WSDL): parse it, and write a message by it.

These functions run in a process of `ap4r.dispatcher.compute.process_pool`, which caches parsed descriptions for later
messages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ap4r.errors import PayloadNotEncodable
from ap4r.message.message import Message
from ap4r.protocols.base import Described, DocumentMissing, Secured
from ap4r.protocols.registry import find_protocol

_MAX_KEPT = 16
_READ: OrderedDict[tuple[str, bytes, bool], Any] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Description:
    """The documents of a description, and how they are parsed. `digest` identifies them."""

    protocol: str
    url: str
    digest: bytes
    documents: Mapping[str, bytes]
    allow_dtd: bool = False


@dataclass(frozen=True, slots=True)
class Readable:
    """The description was parsed."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Another document is needed first."""

    url: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """It cannot be parsed. `for_good` is true if the same documents will never be usable."""

    problem: str
    for_good: bool


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A message does not fit its description."""

    problem: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The description is not cached here any more: it must be sent along."""


def read_description(description: Description) -> Readable | Needs | Unusable:
    """Parse a description, and cache it for messages."""
    key = (description.protocol, description.digest, description.allow_dtd)
    if key in _READ:
        return Readable()
    protocol = _described(description.protocol)
    url, documents = description.url, description.documents
    try:
        if description.allow_dtd:
            documents = {one: _flattened(body) for one, body in documents.items()}
        read = protocol.compile(url, documents)
    except DocumentMissing as absent:
        return Needs(absent.url)
    except ImportError as error:
        return Unusable(f"{error}: pip install 'ap4r[soap]'", for_good=False)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001 - the parser may raise anything for a document of others
        return Unusable(*_problem(url, documents, error))
    while len(_READ) >= _MAX_KEPT:
        _READ.popitem(last=False)
    _READ[key] = read
    return Readable()


def write_message(
    protocol: str,
    digest: bytes,
    allow_dtd: bool,
    description: Description | None,
    message: Message,
    securities: Mapping[str, Mapping[str, Any]],
) -> Message | Unwritable | Unusable | Forgotten:
    """Write a message by a description that was parsed before, here or, if it is sent along, elsewhere.

    :param securities: the tables [wsse.NAME], if the message may need one.
    """
    key = (protocol, digest, allow_dtd)
    if key not in _READ:
        if description is None:
            return Forgotten()
        read = read_description(description)
        if not isinstance(read, Readable):
            return read if isinstance(read, Unusable) else Unusable("it needs further documents", for_good=False)
    _READ.move_to_end(key)
    speaking = _described(protocol)
    try:
        if isinstance(speaking, Secured):
            return speaking.complete_secured(message, _READ[key], securities)
        return speaking.complete(message, _READ[key])
    except PayloadNotEncodable as error:
        return Unwritable(str(error))


@cache
def _described(name: str) -> Described:
    protocol = find_protocol(name)
    assert isinstance(protocol, Described)
    return protocol


def _problem(url: str, documents: Mapping[str, bytes], error: Exception) -> tuple[str, bool]:
    """Return why documents are unusable, and whether they always will be."""
    for one, body in documents.items():
        start = body[:2_000].lstrip().lower()
        if not start or b"<html" in start or start.startswith(b"<!doctype html"):
            # A page that replaces the server while it is away.
            return f"{one} is {'a page for people' if start else 'empty'}", False
    kind, text = type(error).__name__, " ".join(str(error).split())
    if kind in ("DTDForbidden", "EntitiesForbidden"):
        text = "it has a document type; wsdl_dtd = true accepts such documents, wsdl_copies replaces them by others"
    return f"{url} is unusable: {kind}: {text}"[:1_000], True


def _flattened(body: bytes) -> bytes:
    """Return a document without its document type: its own entities are expanded, within libxml2's bounds.

    Nothing external is read, be it an entity or the rest of the document type.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities="internal", load_dtd=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return body  # its parser reports what is wrong
    if not root.getroottree().docinfo.doctype and root.getroottree().docinfo.internalDTD is None:
        return body
    flat: bytes = etree.tostring(root, encoding="utf-8", xml_declaration=True)
    return flat
