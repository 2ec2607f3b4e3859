"""Orders: a transfer is ordered here, and carried out by the ledger. Flask, and a SQLAlchemy Session.

An order and its message to the ledger are one commit: there is never one without the other.

    ORDERS_DB    the database of the orders, with ap4r's tables in it (sqlite:///orders.db)
    LEDGER_URL   the URL of the ledger (http://127.0.0.1:8002)
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import String, create_engine, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ap4r.errors import StoreUnavailable
from ap4r.middleware import AP4RMiddleware

ORDERS_DB = os.environ.get("ORDERS_DB", "sqlite:///orders.db")
LEDGER_URL = os.environ.get("LEDGER_URL", "http://127.0.0.1:8002")

# The database may be restarted at any time; a connection from the pool is checked before use.
engine = create_engine(ORDERS_DB, pool_pre_ping=True)
app = Flask(__name__)


class Base(DeclarativeBase):
    """The tables of this application."""


class Order(Base):
    """A transfer that was ordered. The customer's program creates the number, so it can repeat the request."""

    __tablename__ = "orders"
    number: Mapped[str] = mapped_column(String(64), primary_key=True)
    payer: Mapped[int]
    payee: Mapped[int]
    cents: Mapped[int]
    confirmed: Mapped[int] = mapped_column(default=0)  # how often the ledger has confirmed it: once, or not yet


@app.post("/orders")
def place_order() -> ResponseReturnValue:
    """Store the order and its message. A client without a response repeats the request with the same number."""
    wanted = {name: request.json[name] for name in ("number", "payer", "payee", "cents")}
    ap4r = request.environ["ap4r"]
    with Session(engine) as session:
        try:
            with ap4r.transaction(session):
                session.add(Order(**wanted))
                session.flush()  # an order of this number that is there already shows here
                ap4r.async_to(f"{LEDGER_URL}/async/transfer", wanted, format="json")
        except IntegrityError:
            return "this order was placed before\n", 200
    return "placed\n", 201


@app.post("/async/confirm")
def confirm() -> ResponseReturnValue:
    """Record that the ledger has carried an order out: once, however often the message arrives."""
    with Session(engine) as session, request.environ["ap4r"].once(session) as delivery:
        if delivery.first:
            its_number = Order.number == request.json["number"]
            session.execute(update(Order).where(its_number).values(confirmed=Order.confirmed + 1))
    return "", 204


@app.get("/orders/<number>")
def show_order(number: str) -> ResponseReturnValue:
    """Return an order."""
    with Session(engine) as session:
        order = session.get_one(Order, number)
        return jsonify(number=order.number, cents=order.cents, confirmed=bool(order.confirmed))


@app.errorhandler(DBAPIError)
@app.errorhandler(StoreUnavailable)
def is_away(error: Exception) -> ResponseReturnValue:
    """Answer while the database is unreachable. After a failed COMMIT the outcome of the order is unknown."""
    app.logger.warning("%s", error)
    return "the database is away; ask again\n", 503


application = AP4RMiddleware(app, store=ORDERS_DB, internal=["/async/*"], once=["/async/*"])
