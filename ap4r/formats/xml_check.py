"""Checks that bytes are one XML document that is safe to pass on, without building a tree of it. Pure."""

from __future__ import annotations

from typing import NoReturn
from xml.parsers.expat import ExpatError, ParserCreate

from ap4r.redaction import shortened

#: The longest name of a namespace. A parser writes it before each name in that namespace, so a long one in a document
#: with many names takes memory with the square of the document's size.
MAX_NAMESPACE = 1_000


def check_document(document: bytes) -> None:
    """Check that a document is well-formed, namespaces included, and has no document type and no entities.

    :raises ValueError: the text says what is wrong.
    :raises LookupError: its encoding is unknown.
    """
    first = ParserCreate()
    first.StartDoctypeDeclHandler = _refuse_document_type
    first.StartElementHandler = _refuse_long_namespaces
    second = ParserCreate(namespace_separator=" ")
    try:
        for parser in (first, second):
            parser.Parse(document, True)
    except ExpatError as error:
        raise ValueError(str(error)) from error


def _refuse_document_type(name: str, *_: object) -> NoReturn:
    raise ValueError(f"it has a document type ({shortened(name, 40)}), which may define entities")


def _refuse_long_namespaces(name: str, attributes: dict[str, str]) -> None:
    for attribute, value in attributes.items():
        if len(value) > MAX_NAMESPACE and attribute.startswith("xmlns"):
            raise ValueError(f"the name of a namespace has {len(value):,} characters; at most {MAX_NAMESPACE:,}")
