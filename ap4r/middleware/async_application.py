"""Refuses asynchronous applications, which are not WSGI, with an error that names the reason."""

from __future__ import annotations

import inspect
from functools import partial

from ap4r.errors import ConfigError
from ap4r.redaction import shortened

_ADVICE = (
    "it is asynchronous (ASGI), and AP4RMiddleware wraps WSGI applications (PEP 3333). Wrap the WSGI part of your "
    "application, or use `with ap4r.session() as handle:` in an asynchronous handler, in a thread"
)


def refuse_asynchronous(app: object) -> None:
    """Raise if an application cannot be called, or is asynchronous as far as that shows before the call.

    :raises ConfigError: it cannot be called, or it is asynchronous.
    """
    while isinstance(app, partial):
        app = app.func
    if not callable(app):
        raise ConfigError("app", f"{shortened(app)} is not a WSGI application: it is not callable")
    is_method = _is_asynchronous(getattr(type(app), "__call__", None))  # noqa: B004 - it is callable: see above
    if _is_asynchronous(app) or is_method:
        raise ConfigError("app", _ADVICE)


def refuse_awaitable(result: object) -> None:
    """Raise if the value that an application returned must be awaited.

    :raises ConfigError: it must.
    """
    if not (hasattr(type(result), "__await__") or hasattr(type(result), "__anext__")):
        return
    if inspect.iscoroutine(result):
        result.close()
    raise ConfigError("app", _ADVICE)


def _is_asynchronous(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
