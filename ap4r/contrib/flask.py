"""Flask: views that accept verified deliveries only, and forms (CSRF) that accept verified deliveries.

Use `require_delivery` on a view, and `ap4r.contrib.flask.CSRFProtect` instead of `flask_wtf.CSRFProtect`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import flask

from ap4r.contrib.verified_request import delivery_of
from ap4r.outbox.required import refusal_of
from ap4r.settings.upstreams import OWN_SENDER

View = TypeVar("View", bound=Callable[..., Any])


def require_delivery(view: Any = None, *, sender: str = OWN_SENDER) -> Any:
    """Answer 403 with the reason, instead of calling the view, to every request that is not a verified delivery.

    `@require_delivery` or `@require_delivery(sender="billing")`, below `@app.route(...)`; in a class of views,
    `decorators = [require_delivery]`.

    :param sender: who must have signed it: our own dispatcher, or the name of a table [senders.NAME].
    """

    def decorate(view: View) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*arguments: Any, **options: Any) -> Any:
            refusal = refusal_of(flask.request.environ, sender)
            if refusal:
                return flask.Response(refusal, 403, mimetype="text/plain", headers={"Cache-Control": "no-store"})
            return flask.current_app.ensure_sync(view)(*arguments, **options)

        return guarded

    return decorate if view is None else decorate(view)


try:
    from flask_wtf import csrf
except ImportError:  # views need no Flask-WTF

    def __getattr__(name: str) -> Any:
        if name == "CSRFProtect":
            raise ImportError("ap4r.contrib.flask.CSRFProtect is Flask-WTF's own, which is not installed: flask-wtf")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
else:

    class CSRFProtect(csrf.CSRFProtect):
        """Flask-WTF's own, which requires a token of every request but a delivery whose signature was verified."""

        def protect(self, *arguments: Any, **more: Any) -> None:
            """Accept a verified delivery, its forms included; leave every other request to Flask-WTF."""
            if delivery_of(flask.request.environ) is None:
                super().protect(*arguments, **more)
                return
            # Flask-WTF itself sets this for its forms after a valid token.
            flask.g.csrf_valid = True
