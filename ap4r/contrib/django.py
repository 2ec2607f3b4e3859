"""Django: views that take verified deliveries only, and forms (CSRF) that let verified deliveries pass.

Use `require_delivery` on a view, and in `MIDDLEWARE` put `ap4r.contrib.django.CsrfViewMiddleware` in the place of
`django.middleware.csrf.CsrfViewMiddleware`.
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
    """Answer 403 with the reason, in the place of a view, to every request that is no verified delivery.

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
    """Django's own, which asks no token of a delivery whose signature was verified.

    A token proves that a form is ours; the signature proves more. Everybody else is asked as ever, whatever headers
    they send.
    """

    def process_view(
        self,
        request: HttpRequest,
        callback: Callable[..., Any] | None,
        callback_args: Sequence[Any],
        callback_kwargs: Mapping[str, Any],
    ) -> Any:
        """Let a verified delivery pass; leave every other request to Django."""
        if delivery_of(getattr(request, "environ", {})) is not None:
            # What Django itself notes after a token that was right, for views that are decorated with csrf_protect.
            setattr(request, "csrf_processing_done", True)  # noqa: B010 - a note that Django declares nowhere
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)
