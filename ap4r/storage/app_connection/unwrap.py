"""The connection inside of what was wrapped around it: by instrumentation, a pool, or a proxy of the application's."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

_DEEPEST = 8  #: wrappers around wrappers
#: What gives the object that stands behind a proxy, by the proxy's class.
_PROXIES = {
    ("werkzeug.local", "LocalProxy"): lambda proxy: proxy._get_current_object(),
    ("django.utils.functional", "LazyObject"): lambda proxy: _lazy(proxy),
}
#: What a wrapper of a connection has itself; a cursor, which knows its connection too, has not.
_OF_CONNECTIONS = ("cursor", "commit", "rollback")


def unwrapped(given: Any, is_known: Callable[[Any], bool]) -> Any:
    """Give the innermost object that is known, looking through wrappers; the given one where there is none.

    By an object's true class: a proxy says of itself that it is of the class of what it wraps.

    :param is_known: tells whether an object is of a class that needs no unwrapping.
    """
    at = given
    for _ in range(_DEEPEST):
        if is_known(at):
            return at
        inner = _inner(at, is_known)
        if inner is None or inner is at:
            break
        at = inner
    return given


def is_returned(given: object) -> bool:
    """Tell whether a connection of a pool of DBUtils was given back, so that nothing stands behind it any more."""
    return is_of_dbutils(given) and _own(given).get("_con") is None


def is_of_dbutils(given: object) -> bool:
    """Tell whether it is a connection of DBUtils, which keeps account of transactions by itself."""
    return type(given).__module__.partition(".")[0].lower() == "dbutils"


def _inner(given: Any, is_known: Callable[[Any], bool]) -> Any:
    kind = type(given)
    if kind in weakref.ProxyTypes:
        return getattr(getattr(given, "cursor", None), "__self__", None)
    for base in kind.__mro__:
        of_proxy = _PROXIES.get((base.__module__, base.__name__))
        if of_proxy is not None:
            return of_proxy(given)
    # Of wrapt, and of what follows functools.
    wrapped = inspect.getattr_static(kind, "__wrapped__", None)
    if wrapped is not None or "__wrapped__" in _own(given):
        return getattr(given, "__wrapped__", None)
    if not _is_like_one(given):
        return None
    # Any other keeps it in an attribute: the one that is known, else the only one that may keep it in turn.
    held = list(_held(given))
    known = [value for value in held if is_known(value)]
    if not known:
        known = [value for value in held if _is_like_one(value)]
    different = {id(value): value for value in known}
    return next(iter(different.values())) if len(different) == 1 else None


def _is_like_one(value: Any) -> bool:
    try:
        return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in _OF_CONNECTIONS)
    except Exception:  # noqa: BLE001 - of a proxy that has nothing behind it
        return False


def _held(given: object) -> Iterator[Any]:
    yield from _own(given).values()
    for kind in type(given).__mro__:
        names = kind.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            slot = kind.__dict__.get(_mangled(kind, name))
            if inspect.ismemberdescriptor(slot):
                try:
                    yield slot.__get__(given)
                except AttributeError:
                    continue  # it was never set


def _own(given: object) -> dict[str, Any]:
    """Give an object's own attributes, and not those of what it passes on to."""
    try:
        own = object.__getattribute__(given, "__dict__")
    except AttributeError:
        return {}
    return own if isinstance(own, dict) else {}


def _mangled(kind: type, name: str) -> str:
    is_private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if is_private else name


def _lazy(proxy: Any) -> Any:
    if proxy._wrapped is None or type(proxy._wrapped) is object:
        proxy._setup()
    return proxy._wrapped
