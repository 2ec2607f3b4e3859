"""Finds the one element of an untrusted XML document that decides, safely and at a bounded cost.

defusedxml refuses document types, entities and everything external, so no entity is expanded and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MAX_DEPTH = 100
MAX_ELEMENTS = 10_000  #: the most before the decision, or in the part that is returned


class Step(Enum):
    """The effect of an element on the search."""

    ON = "on"  #: look further
    STOP = "stop"  #: decided; the rest must only be well-formed
    TAKE = "take"  #: decided, and this element is returned


@dataclass(frozen=True, slots=True)
class SearchEnd:
    """Where a search ended: the names from the root to the element that decided, empty if none did."""

    root: str
    path: tuple[str, ...] = ()
    element: Element | None = None


class XmlRefused(ValueError):
    """The document is not well-formed, or not safe."""


def find_part(document: bytes, choose: Callable[[tuple[str, ...]], Step]) -> SearchEnd:
    """Read a document to its end; `choose` is called for each element, with its path of `{namespace}name`s.

    :param document: in UTF-8; an encoding that it declares is ignored.
    :raises XmlRefused: not well-formed, too deep, too many elements, or with a document type or entities.
    """
    search = _Search(choose)
    parser = DefusedXMLParser(target=search, encoding="utf-8", forbid_dtd=True)
    search.parser = parser.parser
    try:
        parser.feed(document)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise XmlRefused(str(error)) from error
    return SearchEnd(search.root, search.decided, search.element)


class _Search:
    """A target for the parser (`xml.etree.ElementTree.XMLParser`)."""

    def __init__(self, choose: Callable[[tuple[str, ...]], Step]) -> None:
        self.parser: object = None
        self.root = ""
        self.decided: tuple[str, ...] = ()
        self.element: Element | None = None
        self._choose = choose
        self._path: list[str] = []
        self._count = 0
        self._builder: TreeBuilder | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)
        self._count += 1
        if len(self._path) > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise ValueError("it is nested too deeply, or has too many elements")
        self.root = self.root or tag
        if self._builder is None:
            step = self._choose(tuple(self._path))
            if step is Step.ON:
                return
            self.decided = tuple(self._path)
            if step is Step.STOP:
                self._rest_quietly()
                return
            self._builder = TreeBuilder()
        self._builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        if self._builder is not None:
            self._builder.end(tag)
            if len(self._path) == len(self.decided):
                self.element = self._builder.close()
                self._builder = None
                self._rest_quietly()
                return
        self._path.pop()

    def data(self, data: str) -> None:
        if self._builder is not None:
            self._builder.data(data)

    def close(self) -> None:
        """Do nothing (the parser requires the method)."""

    def _rest_quietly(self) -> None:
        # expat checks the rest by itself, so that a large answer does not cost a Python call for each element.
        for name in ("StartElementHandler", "EndElementHandler", "CharacterDataHandler", "DefaultHandlerExpand"):
            setattr(self.parser, name, None)
