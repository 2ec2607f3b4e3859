"""What is known of servers: whose `start_response` accepts every plain start, and whose differs from PEP 3333."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType
from typing import Any

#: Modules whose `start_response` accepts every start that is plain (`Start.is_plain`): to these the start can be given
#: after the messages are stored. Any other may be an outer middleware that refuses it for a reason of its own.
_ACCEPTING = frozenset(
    {
        *("a2wsgi.wsgi", "asgiref.wsgi", "cheroot.wsgi", "eventlet.wsgi", "gevent.pywsgi", "granian.wsgi"),
        *("gunicorn.http.wsgi", "hypercorn.app_wrappers", "starlette.middleware.wsgi", "tornado.wsgi"),
        *("twisted.web.wsgi", "uvicorn.middleware.wsgi", "waitress.task", "webob.request", "werkzeug.serving"),
        *("werkzeug.test", "wsgiref.handlers", "ap4r.dispatcher.app_server.wsgi_response"),
    }
)
#: Servers written in C, whose `start_response` names no module. It is not even asked for its type: FastWSGI's crashes.
_NATIVE = ("bjoern", "fastwsgi", "mod_wsgi", "uwsgi")

#: Packages that wrap `start_response` to look at the status, and refuse nothing.
_OBSERVERS = ("sentry_sdk.", "opentelemetry.")

#: Packages where a second start with exc_info changes the status, and its headers are added to those of the first.
_ADDS_HEADERS = frozenset({"cheroot", "gunicorn"})
#: Packages that have sent the first start by the time of the second.
_KEEPS_FIRST = frozenset({"a2wsgi", "starlette", "uvicorn"})
#: The same once the application's call has returned.
_KEEPS_FIRST_AFTER_CALL = frozenset({"granian"})


class SecondStart(Enum):
    """What a server makes of a second start with exc_info, before anything was sent. PEP 3333 says that it replaces."""

    REPLACES = "replaces"
    ADDS_HEADERS = "adds headers"
    IS_IGNORED = "is ignored"


def accepts_plain_starts(start_response: Any) -> bool:
    """Return whether this is the function of a server, known to accept every plain start."""
    for _ in range(4):
        module = _module(start_response)
        if module in _ACCEPTING:
            return True
        if start_response is None or not module.startswith(_OBSERVERS):
            break
        start_response = _observed(start_response)
    return not module and any(name in sys.modules for name in _NATIVE)


def second_start(*, has_returned: bool) -> SecondStart:
    """Return what the server that calls us is believed to make of a second start with exc_info.

    :param has_returned: the application's call has.

    It is asked only after a failure: it looks through the frames of the call. A caller without frames is a server
    written in another language, of which some take no second start either.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _package(frame.f_globals) == "ap4r":
        frame = frame.f_back
    if frame is None or "uwsgi" in sys.modules:
        return SecondStart.IS_IGNORED  # uWSGI sends the second start, and nothing behind it.
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
    """Return where a function, method or callable object is defined; "" where that is no module of Python.

    `__module__` is not asked: `functools.wraps` gives a wrapper that of what it wraps.
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
    """Return what an observer's `start_response` passes everything on to."""
    if type(start_response) is partial:
        return next((given for given in start_response.args if callable(given)), None)
    code = getattr(start_response, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), start_response.__closure__ or (), strict=False):
        if name == "start_response":
            return cell.cell_contents  # type: ignore[no-any-return]
    return None
