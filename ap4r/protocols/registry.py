"""The protocols: ap4r's own, and those of installed packages (entry points, group `ap4r.protocols`)."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ap4r.errors import OptionRefused
from ap4r.protocols.base import CallProtocol

GROUP = "ap4r.protocols"
MAX_NAME = 32  #: characters; the size of the store's column
_OWN = {
    "http": "ap4r.protocols.http:Http",
    "jsonrpc": "ap4r.protocols.jsonrpc:JsonRpc",
    "soap": "ap4r.protocols.soap.soap:Soap",
    "xmlrpc": "ap4r.protocols.xmlrpc:XmlRpc",
}


def find_protocol(name: object) -> CallProtocol:
    """Return the protocol of a name. ap4r's own cannot be replaced; each is loaded at its first use.

    :raises OptionRefused: there is none, or it cannot be loaded; the text lists the known ones.
    """
    if not isinstance(name, str) or not name or len(name) > MAX_NAME:
        raise OptionRefused("protocol", name, f"give one of {', '.join(known_protocols())}")
    return _loaded(name)


@cache
def _loaded(name: str) -> CallProtocol:
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        return _checked(name, lambda: getattr(import_module(module), attribute))
    others = _others()
    if name not in others:
        names = known_protocols()
        nearest = get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise OptionRefused("protocol", name, f"this protocol is not installed; {hint}give one of {', '.join(names)}")
    return _checked(name, others[name].load)


def known_protocols() -> list[str]:
    """Return the names of the protocols, ap4r's own first."""
    return [*_OWN, *sorted(set(_others()) - set(_OWN))]


def _others() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _checked(name: str, load: Callable[[], Any]) -> CallProtocol:
    try:
        found = load()
        protocol = found() if isinstance(found, type) else found
    except Exception as error:
        raise OptionRefused("protocol", name, f"it cannot be loaded: {error!r}") from error
    if not isinstance(protocol, CallProtocol):
        raise OptionRefused("protocol", name, f"{protocol!r} has no encode() and judge(), so it is not a protocol")
    return protocol
