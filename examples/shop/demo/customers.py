"""The customers: their orders and the responses, recorded outside the shop and outside ap4r."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlencode

ITEMS = ("green tea", "tea pot", "black tea", "copper kettle", "honey", "biscuits")
#: Messages of one order.
MESSAGES_PER_ORDER = 3


@dataclass(frozen=True)
class Order:
    """An order to be placed. `card` is good, declined (the shop answers 402) or broken (it raises)."""

    number: str
    item: str
    mail: str
    card: str = "good"


@dataclass(frozen=True)
class Placed:
    """An order and the status that its customer saw."""

    order: Order
    status: int

    @property
    def kept(self) -> bool:
        """Return whether the request succeeded: then its messages must be delivered, otherwise never."""
        return self.status < 400


def invent_orders() -> Iterator[Order]:
    """Yield orders without end: one in five declined, one in five broken, now and then a mail that cannot be sent."""
    for index in itertools.count(1):
        card = {3: "declined", 0: "broken"}.get(index % 5, "good")
        name = {2: "slow", 6: "gone"}.get(index % 10, "customer")
        yield Order(f"{index:04}", ITEMS[index % len(ITEMS)], f"{name}@{index}.example", card)


def place(order: Order, port: int) -> Placed:
    """Post an order to the shop, as a browser would."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        form = {"number": order.number, "item": order.item, "mail": order.mail, "card": order.card}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/orders", urlencode(form), headers)
        response = connection.getresponse()
        response.read()
        return Placed(order, response.status)
    finally:
        connection.close()
