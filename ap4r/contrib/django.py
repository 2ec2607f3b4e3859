"""Django: views that accept verified deliveries only, and forms (CSRF) that accept verified deliveries.

Use `require_delivery` on a view, and in `MIDDLEWARE` replace `django.middleware.csrf.CsrfViewMiddleware` by
`ap4r.contrib.django.CsrfViewMiddleware`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.middleware import csrf

from ap4r.contrib.verified_request import delivery_of
from ap4r.outbox.required import refusal_of
from ap4r.settings.upstreams import OWN_SENDER


def require_delivery(view: Any = None, *, sender: str = OWN_SENDER) -> Any:
    """Answer 403 with the reason, instead of calling the view, to every request that is not a verified delivery.

    `@require_delivery` or `@require_delivery(sender="billing")`; on a class of views by Django's `method_decorator`.

    :param sender: who must have signed it: our own dispatcher, or the name of a table [senders.NAME].
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded_async(request: HttpRequest, *arguments: Any, **options: Any) -> Any:
                return _refused(request, sender) or await view(request, *arguments, **options)

            return guarded_async

        @wraps(view)
        def guarded(request: HttpRequest, *arguments: Any, **options: Any) -> Any:
            return _refused(request, sender) or view(request, *arguments, **options)

        return guarded

    return decorate if view is None else decorate(view)


def _refused(request: HttpRequest, sender: str) -> HttpResponse | None:
    refusal = refusal_of(getattr(request, "environ", {}), sender)
    if not refusal:
        return None
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
    return HttpResponseForbidden(refusal, headers=headers)


class CsrfViewMiddleware(csrf.CsrfViewMiddleware):
    """Django's own, which requires no token of a delivery whose signature was verified.

    A token proves that a form is ours; the signature proves more. Every other request needs a token as before, whatever
    headers it has.
    """

    def process_view(
        self,
        request: HttpRequest,
        callback: Callable[..., Any] | None,
        callback_args: Sequence[Any],
        callback_kwargs: Mapping[str, Any],
    ) -> Any:
        """Accept a verified delivery; leave every other request to Django."""
        if delivery_of(getattr(request, "environ", {})) is not None:
            # Django itself sets this after a valid token, for views that are decorated with csrf_protect.
            setattr(request, "csrf_processing_done", True)  # noqa: B010 - an attribute that Django does not declare
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)
