"""What is known of servers: whose `start_response` accepts every plain start, and whose differs from PEP 3333."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

#: Modules whose `start_response` accepts every start that is plain (`Start.is_plain`): to these the start can be given
#: after the messages are stored. Any other may be an outer middleware that refuses it for a reason of its own.
_ACCEPTING = frozenset(
    {
        *("a2wsgi.wsgi", "asgiref.wsgi", "cheroot.wsgi", "eventlet.wsgi", "gevent.pywsgi", "granian.wsgi"),
        *("gunicorn.http.wsgi", "hypercorn.app_wrappers", "mod_wsgi", "starlette.middleware.wsgi", "tornado.wsgi"),
        *("twisted.web.wsgi", "uvicorn.middleware.wsgi", "waitress.task", "webob.request", "werkzeug.serving"),
        *("werkzeug.test", "wsgiref.handlers"),
    }
)
#: Servers written in C, by the name of their function or type.
_ACCEPTING_NATIVE = frozenset({"uwsgi_spit", "start_response", "StartResponse"})

#: Packages that wrap `start_response` to look at the status, and refuse nothing.
_OBSERVERS = ("sentry_sdk.", "opentelemetry.")

#: Packages where a second start with exc_info does not replace the first: gunicorn and cheroot add its headers to those
#: of the first, the others have sent the first already.
_KEEPS_FIRST = frozenset({"a2wsgi", "cheroot", "granian", "gunicorn", "starlette", "uvicorn"})


def accepts_plain_starts(start_response: Any) -> bool:
    """Return whether this is the function of a server, known to accept every plain start."""
    for _ in range(4):
        module = _module(start_response)
        if module in _ACCEPTING:
            return True
        if not module.startswith(_OBSERVERS):
            break
        start_response = _observed(start_response)
    # Functions and types of servers written in C name no module.
    name = getattr(start_response, "__name__", None) or type(start_response).__name__
    return not module and name in _ACCEPTING_NATIVE


def replaces_starts(depth: int = 1) -> bool:
    """Return whether the server that calls us is believed to let a second start with exc_info replace the first.

    It is asked only after a failure: it looks through the frames of the call. A caller without frames is a server
    written in another language, of which some take no second start either.
    """
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and _package(frame.f_globals) == "ap4r":
        frame = frame.f_back
    if frame is None:
        return False
    while frame is not None:
        if _package(frame.f_globals) in _KEEPS_FIRST:
            return False
        frame = frame.f_back
    return True


def _package(names: dict[str, Any]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]


def _module(start_response: Any) -> str:
    """Return where a function, method or callable object is defined; "" where that is no module of Python.

    `__module__` is not asked: `functools.wraps` gives a wrapper that of what it wraps.
    """
    if isinstance(start_response, partial):
        start_response = start_response.func
    owner = getattr(start_response, "__self__", None)
    function = getattr(start_response, "__func__", start_response)
    names = getattr(function, "__globals__", None)
    if names is not None:
        return str(names.get("__name__", ""))
    module = type(start_response if owner is None else owner).__module__
    return "" if module == "builtins" else module


def _observed(start_response: Any) -> Callable[..., Any] | None:
    """Return what an observer's `start_response` passes everything on to."""
    if isinstance(start_response, partial):
        return next((given for given in start_response.args if callable(given)), None)
    code = getattr(start_response, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), start_response.__closure__ or (), strict=False):
        if name == "start_response":
            return cell.cell_contents  # type: ignore[no-any-return]
    return None
