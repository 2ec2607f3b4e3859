"""A small web shop as an ordinary WSGI application: what a user of ap4r writes.

Placing an order stores it in the shop's own SQLite file and creates three messages, each
for a request to an ordinary action. There is no worker: the actions /mail/confirm and /search/reindex are below.

    SHOP_DB         the shop's own file (shop.db)
    WAREHOUSE_URL   the warehouse (http://127.0.0.1:8001)
    AP4R_STORE      where ap4r keeps messages (sqlite:///ap4r.db)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from html import escape

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from ap4r.middleware import AP4RMiddleware
from ap4r.settings.load import load_settings

SHOP_DB = os.environ.get("SHOP_DB", "shop.db")
WAREHOUSE_URL = os.environ.get("WAREHOUSE_URL", "http://127.0.0.1:8001")

TABLES = """
CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, item TEXT NOT NULL, mail TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mails (message_id TEXT PRIMARY KEY, number TEXT NOT NULL, mail TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reindexed (message_id TEXT PRIMARY KEY, number TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS search_index (word TEXT NOT NULL, number TEXT NOT NULL, PRIMARY KEY (word, number));
"""


class CardDeclined(Exception):
    """The bank declined the payment: an exception that is not caught, as in real applications."""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the shop's own file; commit on a clean exit, roll back on an exception."""
    with closing(sqlite3.connect(SHOP_DB, timeout=10)) as connection:
        connection.executescript(TABLES)
        with connection:
            yield connection


def place_order(request: Request) -> Response:
    """Store an order and request the calls that follow it."""
    number, item, mail = (request.form[name] for name in ("number", "item", "mail"))
    ap4r = request.environ["ap4r"]
    with database() as connection:
        connection.execute("INSERT INTO orders VALUES (?, ?, ?)", (number, item, mail))
        ap4r.async_to("/mail/confirm", {"number": number, "mail": mail})
        ap4r.async_to({"controller": "search", "action": "reindex"}, {"number": number, "item": item})
        ap4r.async_to(f"{WAREHOUSE_URL}/pack", {"number": number, "item": item}, format="json")
        if request.form.get("card") == "broken":
            # None of the three messages may ever be sent: this request fails.
            raise CardDeclined(number)
        if request.form.get("card") == "declined":
            connection.rollback()
            return Response(f"order {number}: the card was declined\n", status=402)
    return Response(status=303, headers={"Location": "/"})


def confirm_by_mail(request: Request) -> Response:
    """Write to the customer. A redelivered message is recognised by its id, so no customer gets two mails."""
    number, mail = request.form["number"], request.form["mail"]
    if mail.startswith("gone@"):
        # 410: a retry is useless. The message becomes a dead letter at once.
        return Response(f"{mail} does not exist\n", status=410)
    if mail.startswith("slow@") and request.headers["Ap4r-Attempt"] == "1":
        # 500: ap4r retries later.
        return Response("the mail server is busy\n", status=500)
    with database() as connection:
        message_id = request.headers["Ap4r-Message-Id"]
        connection.execute("INSERT OR IGNORE INTO mails VALUES (?, ?, ?)", (message_id, number, mail))
    return Response(status=204)


def rebuild_index(request: Request) -> Response:
    """Index the order by the words of its item."""
    number, item = request.form["number"], request.form["item"]
    with database() as connection:
        words = [(word, number) for word in item.lower().split()]
        connection.executemany("INSERT OR IGNORE INTO search_index VALUES (?, ?)", words)
        message_id = request.headers["Ap4r-Message-Id"]
        connection.execute("INSERT OR IGNORE INTO reindexed VALUES (?, ?)", (message_id, number))
    return Response(status=204)


def show_orders(request: Request) -> Response:
    """Show the newest orders and a form for another one."""
    with database() as connection:
        rows = connection.execute(
            "SELECT number, item, mail, number IN (SELECT number FROM mails), number IN (SELECT number FROM reindexed)"
            " FROM orders ORDER BY rowid DESC LIMIT 50"
        ).fetchall()
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in (number, item, mail, _tick(mailed), _tick(indexed)))
        for number, item, mail, mailed, indexed in rows
    )
    return Response(PAGE.replace("<!-- orders -->", lines), mimetype="text/html")


def _tick(done: int) -> str:
    return "✓" if done else "…"


PAGE = """<!doctype html><meta charset="utf-8"><title>A small shop</title>
<style>body { font: 16px sans-serif; margin: 2em } td, th { padding: .2em 1em; text-align: left }</style>
<h1>A small shop</h1>
<form method="post" action="/orders">
  <input name="number" placeholder="number" required> <input name="item" placeholder="item" required>
  <input name="mail" placeholder="mail" required>
  <select name="card"><option>good<option>declined<option>broken</select>
  <button>Order</button>
</form>
<table><tr><th>order<th>item<th>customer<th>mailed<th>findable</tr><!-- orders --></table>
"""

ROUTES = Map(
    [
        Rule("/", methods=["GET"], endpoint=show_orders),
        Rule("/orders", methods=["POST"], endpoint=place_order),
        Rule("/mail/confirm", methods=["POST"], endpoint=confirm_by_mail),
        Rule("/search/reindex", methods=["POST"], endpoint=rebuild_index),
    ]
)


@Request.application
def shop(request: Request) -> Response:
    """Answer one request; an unknown path or a missing field is answered by werkzeug's own errors."""
    action, _ = ROUTES.bind_to_environ(request.environ).match()
    response: Response = action(request)
    return response


# With a secret (`ap4r init`) only the dispatcher can call these two; the shop also runs without one.
INTERNAL = ["/mail/*", "/search/*"] if load_settings().secrets else []

application = AP4RMiddleware(shop, internal=INTERNAL)
