"""Django: lets verified deliveries past the protection of forms (CSRF), and nobody else.

In `MIDDLEWARE`, put `ap4r.contrib.django.CsrfViewMiddleware` in the place of
`django.middleware.csrf.CsrfViewMiddleware`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.http import HttpRequest
from django.middleware import csrf

from ap4r.contrib.request import delivery_of


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
