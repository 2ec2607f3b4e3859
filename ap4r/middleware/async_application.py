"""Applications that are asynchronous, and so not WSGI: they are refused by name."""

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
    """Raise if an application is asynchronous, as far as that shows before it is called, or is none at all.

    :raises ConfigError: it is.
    """
    while isinstance(app, partial):
        app = app.func
    if not callable(app):
        raise ConfigError("app", f"{shortened(app)} is no WSGI application: it cannot be called")
    if _is_asynchronous(app) or _is_asynchronous(getattr(type(app), "__call__", None)):  # noqa: B004 - not whether it can be called
        raise ConfigError("app", _ADVICE)


def refuse_awaitable(result: object) -> None:
    """Raise if what an application returned has to be awaited.

    :raises ConfigError: it has.
    """
    if not (hasattr(type(result), "__await__") or hasattr(type(result), "__anext__")):
        return
    if inspect.iscoroutine(result):
        result.close()
    raise ConfigError("app", _ADVICE)


def _is_asynchronous(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
