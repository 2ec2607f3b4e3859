"""Any WSGI application: middleware that retries it within one request, and lints that refuse `environ["ap4r"]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ap4r.signing.verified_delivery import ENVIRON_KEY

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

#: Lints treat keys with a dot as extensions, whose values may be of any type.
_HIDDEN_KEY = "ap4r.handle"


def each_call_begins(application: Application) -> Application:
    """Return the application, each call of which drops the messages of an earlier call in the same request.

    It goes inside of a middleware that calls the application again after a failure, as repoze.retry does:
    `AP4RMiddleware(Retry(each_call_begins(application)))`.
    """

    def begun(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        handle = environ.get(ENVIRON_KEY)
        if handle is not None:
            handle.restart()
        return application(environ, start_response)

    return begun


def linted(application: Application, lint: Callable[[Any], Any]) -> Application:
    """Return `lint(application)` for AP4RMiddleware to wrap, with `environ["ap4r"]` hidden from the lint.

    PEP 3333 does not define the values of keys without a dot, and lints (wsgiref.validate, WebTest's) require a str.
    """

    def inside(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[ENVIRON_KEY] = environ.pop(_HIDDEN_KEY)
        return application(environ, start_response)

    checked = lint(inside)

    def outside(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[_HIDDEN_KEY] = environ.pop(ENVIRON_KEY)
        result: Iterable[bytes] = checked(environ, start_response)
        return result

    return outside
