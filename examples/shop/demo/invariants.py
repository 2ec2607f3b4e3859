"""The invariants of a run, checked with ledgers that ap4r does not write, and with its own commands."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.customers import MESSAGES_PER_ORDER, Placed


@dataclass(frozen=True)
class Effects:
    """The recorded effects: pairs of an order's number and the id of its message."""

    orders: frozenset[str]
    mailed: tuple[tuple[str, str], ...]
    indexed: tuple[tuple[str, str], ...]
    packed: tuple[tuple[str, str], ...]

    @property
    def total(self) -> int:
        """Count the messages that had their effect, each once."""
        return len({message_id for done in (self.mailed, self.indexed, self.packed) for _, message_id in done})


def read_effects(shop_db: Path, warehouse_ledger: Path) -> Effects:
    """Read the shop's own file and the warehouse's ledger."""
    with closing(sqlite3.connect(shop_db, timeout=10)) as connection:
        orders = frozenset(number for (number,) in connection.execute("SELECT number FROM orders"))
        mailed = tuple(connection.execute("SELECT number, message_id FROM mails"))
        indexed = tuple(connection.execute("SELECT number, message_id FROM reindexed"))
    lines = warehouse_ledger.read_text(encoding="utf-8").splitlines() if warehouse_ledger.exists() else []
    parcels = [json.loads(line) for line in lines]
    packed = tuple((parcel["number"], parcel["message_id"]) for parcel in parcels)
    return Effects(orders, mailed, indexed, packed)


def outstanding(placed: Sequence[Placed], effects: Effects, dead: int) -> int:
    """Count the stored messages that have neither had their effect nor become dead letters."""
    return MESSAGES_PER_ORDER * sum(one.kept for one in placed) - effects.total - dead


def check_invariants(
    placed: Sequence[Placed], effects: Effects, status: dict[str, Any], dead: list[dict[str, Any]], retried: int
) -> list[tuple[bool, str]]:
    """Check each invariant: return whether it holds, and its text."""
    kept = {one.order.number for one in placed if one.kept}
    dropped = {one.order.number for one in placed if not one.kept}
    good = {one.order.number for one in placed if one.order.card == "good"}
    gone = {one.order.number for one in placed if one.kept and one.order.mail.startswith("gone@")}
    mailed = {number for number, _ in effects.mailed}
    indexed = {number for number, _ in effects.indexed}
    packed = {number for number, _ in effects.packed}
    waiting = sum(queue["ready"] + queue["scheduled"] + queue["leased"] for queue in status["queues"])
    letters = Counter((letter["message"]["queue"], letter["reason"], letter["status"]) for letter in dead)
    return [
        (bool(kept) and kept == good, f"the {len(good)} orders with a good card succeeded, and no other"),
        (effects.orders == kept, "the shop has exactly the orders that succeeded"),
        (bool(dropped), f"{len(dropped)} orders failed on purpose, after requesting their messages"),
        (not dropped & (mailed | indexed | packed), "nothing was ever sent for an order that failed"),
        (indexed == kept, "every order that succeeded is in the search index"),
        (packed == kept, "every one was packed by the warehouse, although it was down for a while"),
        (mailed == kept - gone, "every one was confirmed by mail, except to addresses that do not exist"),
        (
            letters == {("queue.mail.confirm", "gone", 410): len(gone)},
            f"those {len(gone)} mails are dead letters: 410 Gone",
        ),
        (
            MESSAGES_PER_ORDER * len(kept) == effects.total + len(dead),
            f"kept {MESSAGES_PER_ORDER * len(kept)} = delivered {effects.total} + given up {len(dead)}",
        ),
        (waiting == 0, "nothing is left waiting"),
        (retried > 0, f"{retried} attempts failed and were retried"),
        (len(effects.packed) == len(packed), "the warehouse packed no order twice"),
        (not status["stuck"], "ap4r status finds nothing stuck"),
    ]
