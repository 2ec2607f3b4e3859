"""`make demo ONCE=1` shows what it says it shows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from demo.customers import Order, Placed, invent_orders
from demo.invariants import Effects, check_invariants, outstanding

from tests.meta.tree import ROOT


@pytest.mark.timeout(150)
def test_the_demo_ends_well():
    """The demo ends by itself, with exit 0, and its invariants hold."""
    demo = ROOT / "examples" / "shop"
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--once"],
        cwd=demo,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout
    for word in ("kept", "dropped", "delivered", "will be retried", "dead letter", "ap4r status"):
        assert word in done.stdout


def _story(orders: int = 20) -> tuple[list[Placed], Effects, dict[str, object], list[dict[str, object]]]:
    placed = []
    for _, order in zip(range(orders), invent_orders(), strict=False):
        placed.append(Placed(order, 303 if order.card == "good" else 500))
    kept = [one.order for one in placed if one.kept]
    mailed = tuple((order.number, f"m{order.number}") for order in kept if not order.mail.startswith("gone@"))
    indexed = tuple((order.number, f"i{order.number}") for order in kept)
    packed = tuple((order.number, f"p{order.number}") for order in kept)
    status: dict[str, object] = {"stuck": False, "queues": [{"ready": 0, "scheduled": 0, "leased": 0}]}
    letter = {"message": {"queue": "queue.mail.confirm"}, "reason": "gone", "status": 410}
    dead = [letter] * (len(kept) - len(mailed))
    return placed, Effects(frozenset(order.number for order in kept), mailed, indexed, packed), status, dead


def test_a_correct_run_satisfies_the_invariants():
    """When all is as it should be, every expectation of the demo holds."""
    placed, effects, status, dead = _story()
    assert [text for holds, text in check_invariants(placed, effects, status, dead, retried=1) if not holds] == []
    assert outstanding(placed, effects, len(dead)) == 0


def _changed(effects: Effects, **parts: object) -> Effects:
    return Effects(**({name: getattr(effects, name) for name in Effects.__dataclass_fields__} | parts))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda e: _changed(e, mailed=e.mailed[1:]), id="a mail was lost"),
        pytest.param(lambda e: _changed(e, indexed=e.indexed[1:]), id="an index entry was lost"),
        pytest.param(lambda e: _changed(e, packed=e.packed[1:]), id="a parcel was lost"),
        pytest.param(lambda e: _changed(e, packed=(*e.packed, ("0003", "p0003"))), id="a dropped parcel was packed"),
        pytest.param(lambda e: _changed(e, packed=(*e.packed, e.packed[0])), id="a parcel was packed twice"),
        pytest.param(lambda e: _changed(e, orders=e.orders | {"0003"}), id="a failed order was stored"),
    ],
)
def test_the_invariants_find_what_went_wrong(spoil):
    """Each way in which a message could be lost, sent wrongly or sent twice breaks an expectation of the demo."""
    placed, effects, status, dead = _story()
    assert not all(holds for holds, _ in check_invariants(placed, spoil(effects), status, dead, retried=1))


def test_the_invariants_find_a_failed_order_that_succeeded():
    """An order with a bad card that was answered with success breaks an expectation."""
    placed, effects, status, dead = _story()
    placed.append(Placed(Order("9999", "tea", "customer@9999.example", "broken"), 303))
    assert not all(holds for holds, _ in check_invariants(placed, effects, status, dead, retried=1))
