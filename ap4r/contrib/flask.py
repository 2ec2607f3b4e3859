"""Flask: views that take verified deliveries only, and forms (CSRF) that let verified deliveries pass.

Use `require_delivery` on a view, and `ap4r.contrib.flask.CSRFProtect` in the place of `flask_wtf.CSRFProtect`.
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
    """Answer 403 with the reason, in the place of a view, to every request that is no verified delivery.

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
        """Flask-WTF's own, which asks no token of a delivery whose signature was verified, and one of all others."""

        def protect(self, *arguments: Any, **more: Any) -> None:
            """Let a verified delivery pass, its forms included; leave every other request to Flask-WTF."""
            if delivery_of(flask.request.environ) is None:
                super().protect(*arguments, **more)
                return
            # What Flask-WTF itself notes for its forms after a token that was right.
            flask.g.csrf_valid = True
