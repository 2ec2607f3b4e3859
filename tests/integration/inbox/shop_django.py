"""A Django application that receives once, run as a program of its own: Django's settings are a process's.

`python -m tests.integration.inbox.shop_django FILE ATOMIC` prints what three calls of one message were answered.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.integration.inbox.effects_table import call, delivery
from tests.support.signed import environ_of, secret_text


def main(path: str, is_atomic: bool) -> None:
    """Receive: a call that fails in its block, one that fails behind it, and repeats."""
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse

    settings.configure(
        SECRET_KEY="x" * 50,
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "ATOMIC_REQUESTS": is_atomic},
        },
    )
    django.setup()
    from django.db import connection
    from django.urls import path as route

    from ap4r.middleware import AP4RMiddleware

    fail = {"within": True, "behind": False}

    def pay(request: HttpRequest) -> HttpResponse:
        with request.environ["ap4r"].once(using="default") as one:
            if one.first:
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO effects VALUES (1)")
                one.answer(201, b"made")
                if fail["within"]:
                    raise ArithmeticError
        if fail["behind"]:
            raise ArithmeticError
        return HttpResponse(b"first" if one.first else b"again")

    globals()["urlpatterns"] = [route("async/pay", pay)]
    application: Any = AP4RMiddleware(
        get_wsgi_application(), store=f"sqlite:///{path}", secrets=[secret_text(1)], once=["/async/*"], bell="none"
    )
    said = []
    for within, behind in [(True, False), (False, True), (False, False), (False, False)]:
        fail.update(within=within, behind=behind)
        status, _, body = call(application, environ_of(delivery()))
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM effects")
            said.append((status, body.decode()[:5] if status < 500 else "", cursor.fetchone()[0]))
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "atomic")
