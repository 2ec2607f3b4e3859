"""The ledger: it moves money from one account to another, once for each order. Django, and its own connection.

The middleware accepts only the dispatcher, and answers a repeat without calling the application. What is booked,
the record that the message was received, and the message that confirms it are one commit.

    LEDGER_DB    the database of the ledger, with ap4r's tables in it (sqlite:///ledger.db)
    ORDERS_URL   the URL of the orders (http://127.0.0.1:8001)
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from ap4r.errors import StoreUnavailable
from ap4r.middleware import AP4RMiddleware

LEDGER_DB = os.environ.get("LEDGER_DB", "sqlite:///ledger.db")
ORDERS_URL = os.environ.get("ORDERS_URL", "http://127.0.0.1:8001")


def _database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:]}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,  # the database may be restarted at any time
    }


settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DATABASES={"default": _database(LEDGER_DB)},
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    },
    ROOT_URLCONF=__name__,
    USE_TZ=True,
)
django.setup()


@require_POST
def transfer(request: HttpRequest) -> HttpResponse:
    """Carry an order out. A repeat has no second effect, and is answered 200 instead of 201."""
    order = json.loads(request.body)
    ap4r = request.environ["ap4r"]
    try:
        with ap4r.once(using="default") as delivery:
            if delivery.first:
                book(order)
                ap4r.async_to(f"{ORDERS_URL}/async/confirm", {"number": order["number"]}, format="json")
                delivery.answer(200, "booked before\n")
    except (OperationalError, InterfaceError, StoreUnavailable) as error:
        return HttpResponse(f"the database is unreachable: {error}\n", status=503)
    return HttpResponse("booked\n", status=201) if delivery.first else HttpResponse("booked before\n")


def book(order: dict[str, Any]) -> None:
    """Move the money, and record the booking."""
    changes = {order["payer"]: -order["cents"], order["payee"]: order["cents"]}
    with connection.cursor() as cursor:
        for account in sorted(changes):  # in one order, so that no two transfers lock each other out
            cursor.execute("UPDATE accounts SET cents = cents + %s WHERE number = %s", [changes[account], account])
        cursor.execute(
            "INSERT INTO bookings (number, payer, payee, cents) VALUES (%s, %s, %s, %s)",
            [order[name] for name in ("number", "payer", "payee", "cents")],
        )


@require_GET
def accounts(request: HttpRequest) -> HttpResponse:
    """Return the balances of the accounts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, cents FROM accounts ORDER BY number")
        return JsonResponse(dict(cursor.fetchall()))


urlpatterns = [path("async/transfer", transfer), path("accounts", accounts)]
application = AP4RMiddleware(get_wsgi_application(), store=LEDGER_DB, internal=["/async/*"], once=["/async/*"])
