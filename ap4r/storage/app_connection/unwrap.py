"""The connection inside of its wrappers: instrumentation, a pool, or a proxy of the application."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

_DEEPEST = 8  #: wrappers around wrappers
#: Functions that return the object behind a proxy, by the proxy's class.
_PROXIES = {
    ("werkzeug.local", "LocalProxy"): lambda proxy: proxy._get_current_object(),
    ("django.utils.functional", "LazyObject"): lambda proxy: _lazy(proxy),
}
#: What a connection's wrapper has itself, and a cursor, which refers to its connection too, does not.
_OF_CONNECTIONS = ("cursor", "commit", "rollback")


def unwrapped(given: Any, is_known: Callable[[Any], bool]) -> Any:
    """Return the innermost object of a known class, looking through wrappers; the given object if there is none.

    By an object's true class, because a proxy reports the class of the object that it wraps.

    :param is_known: whether an object is of a class that needs no unwrapping.
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
    """Return whether a connection of a DBUtils pool was given back, so that there is nothing behind it any more."""
    return is_of_dbutils(given) and _own(given).get("_con") is None


def is_of_dbutils(given: object) -> bool:
    """Return whether it is a connection of DBUtils, which tracks transactions by itself."""
    return type(given).__module__.partition(".")[0].lower() == "dbutils"


def _inner(given: Any, is_known: Callable[[Any], bool]) -> Any:
    kind = type(given)
    if kind in weakref.ProxyTypes:
        return getattr(getattr(given, "cursor", None), "__self__", None)
    for base in kind.__mro__:
        of_proxy = _PROXIES.get((base.__module__, base.__name__))
        if of_proxy is not None:
            return of_proxy(given)
    # Of wrapt, and of wrappers that follow functools.
    wrapped = inspect.getattr_static(kind, "__wrapped__", None)
    if wrapped is not None or "__wrapped__" in _own(given):
        return getattr(given, "__wrapped__", None)
    if not _is_like_one(given):
        return None
    # Any other keeps it in an attribute: the one of a known class, else the only one that may be a wrapper itself.
    held = list(_held(given))
    known = [value for value in held if is_known(value)]
    if not known:
        known = [value for value in held if _is_like_one(value)]
    different = {id(value): value for value in known}
    return next(iter(different.values())) if len(different) == 1 else None


def _is_like_one(value: Any) -> bool:
    try:
        return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in _OF_CONNECTIONS)
    except Exception:  # noqa: BLE001 - raised by a proxy without an object
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
    """Return an object's own attributes, and not those of the object that it wraps."""
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
