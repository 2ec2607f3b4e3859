"""Known servers: those whose `start_response` accepts every plain start, and those that differ from PEP 3333."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType
from typing import Any

#: Modules whose `start_response` accepts every start that is plain (`Start.is_plain`): these can get the start after
#: the messages are stored. Any other may be an outer middleware that refuses it for a reason of its own.
_ACCEPTING = frozenset(
    {
        *("a2wsgi.wsgi", "asgiref.wsgi", "cheroot.wsgi", "eventlet.wsgi", "gevent.pywsgi", "granian.wsgi"),
        *("gunicorn.http.wsgi", "hypercorn.app_wrappers", "starlette.middleware.wsgi", "tornado.wsgi"),
        *("twisted.web.wsgi", "uvicorn.middleware.wsgi", "waitress.task", "webob.request", "werkzeug.serving"),
        *("werkzeug.test", "wsgiref.handlers", "ap4r.dispatcher.app_server.wsgi_response"),
    }
)
#: Servers written in C, whose `start_response` has no module name. Its type is not inspected: FastWSGI's crashes.
_NATIVE = ("bjoern", "fastwsgi", "mod_wsgi", "uwsgi")

#: Packages that wrap `start_response` only to read the status, and refuse nothing.
_OBSERVERS = ("sentry_sdk.", "opentelemetry.")

#: Packages where a second start with exc_info changes the status, and its headers are added to those of the first.
_ADDS_HEADERS = frozenset({"cheroot", "gunicorn"})
#: Packages that have already sent the first start when the second one comes.
_KEEPS_FIRST = frozenset({"a2wsgi", "starlette", "uvicorn"})
#: The same, after the application's call has returned.
_KEEPS_FIRST_AFTER_CALL = frozenset({"granian"})


class SecondStart(Enum):
    """What a server does with a second start with exc_info, before anything was sent. By PEP 3333 it replaces."""

    REPLACES = "replaces"
    ADDS_HEADERS = "adds headers"
    IS_IGNORED = "is ignored"


def accepts_plain_starts(start_response: Any) -> bool:
    """Return whether this is the `start_response` of a server that is known to accept every plain start."""
    for _ in range(4):
        module = _module(start_response)
        if module in _ACCEPTING:
            return True
        if start_response is None or not module.startswith(_OBSERVERS):
            break
        start_response = _observed(start_response)
    return not module and any(name in sys.modules for name in _NATIVE)


def second_start(*, has_returned: bool) -> SecondStart:
    """Return what the calling server is expected to do with a second start with exc_info.

    :param has_returned: the application's call has returned.

    Call it only after a failure: it walks through the frames of the call stack. A caller without frames is a server
    written in another language; some of these ignore a second start too.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _package(frame.f_globals) == "ap4r":
        frame = frame.f_back
    if frame is None or "uwsgi" in sys.modules:
        return SecondStart.IS_IGNORED  # uWSGI sends the second start, but no body after it.
    while frame is not None:
        package = _package(frame.f_globals)
        if package in _KEEPS_FIRST or (has_returned and package in _KEEPS_FIRST_AFTER_CALL):
            return SecondStart.IS_IGNORED
        if package in _ADDS_HEADERS:
            return SecondStart.ADDS_HEADERS
        frame = frame.f_back
    return SecondStart.REPLACES


def is_served_by(module: str) -> bool:
    """Return whether a function of this module is about to send what we return: it stands among our callers."""
    frame: FrameType | None = sys._getframe(1) if module in sys.modules else None
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back
    return False


def _package(names: dict[str, Any]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]


def _module(start_response: Any) -> str:
    """Return the module in which a function, method or callable object is defined; "" if it is not a Python module.

    `__module__` is not used, because `functools.wraps` copies it from the wrapped function.
    """
    kind = type(start_response)
    if kind is partial:
        start_response = start_response.func
        kind = type(start_response)
    if kind is MethodType:
        start_response = start_response.__func__
        kind = type(start_response)
    if kind is FunctionType:
        return str(start_response.__globals__.get("__name__", ""))
    if kind is BuiltinFunctionType:
        return ""
    return str(getattr(start_response, "__module__", None) or "")


def _observed(start_response: Any) -> Callable[..., Any] | None:
    """Return the callable to which an observer's `start_response` passes everything on."""
    if type(start_response) is partial:
        return next((given for given in start_response.args if callable(given)), None)
    code = getattr(start_response, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), start_response.__closure__ or (), strict=False):
        if name == "start_response":
            return cell.cell_contents  # type: ignore[no-any-return]
    return None
