"""Messages as rows: durations become instants of the store's clock, ids sixteen bytes, positions an order."""

from __future__ import annotations

import pytest

from ap4r.message.message import new_id
from ap4r.storage.access.transaction import MICROSECONDS, to_microseconds, to_seconds
from ap4r.storage.schema.rows import front_position, id_bytes, id_text, message_row, replayed_at
from tests.support.factories import NOW, message

NOW_AT = to_microseconds(NOW)


def test_ids_go_through_unchanged():
    """An id comes back as its usual text, and ids sort alike as text and as bytes."""
    made = [new_id(NOW + second) for second in range(5)]
    assert [id_text(id_bytes(one)) for one in made] == made
    assert sorted(made) == sorted(made, key=id_bytes) == made
    assert {len(id_bytes(one)) for one in made} == {16}


@pytest.mark.parametrize("given", ["", "x", "0" * 37, "1234", "0" * 30 + "    zz", "0000    " * 4 + "----"])
def test_what_is_no_id_is_refused(given):
    """Text that is no UUID is an error, not another id."""
    with pytest.raises(ValueError):
        id_bytes(given)


@pytest.mark.parametrize(
    ("values", "due_in_seconds"),
    [
        ({}, 0),
        ({"delay_seconds": 2.5}, 2.5),
        ({"deliver_at": NOW + 3}, 3),
        ({"deliver_at": NOW - 3}, 0),
        ({"delay_seconds": 4.0, "deliver_at": NOW + 3}, 4),
        ({"delay_seconds": 4.0, "deliver_at": NOW + 5}, 5),
    ],
)
def test_when_a_message_is_first_due(values, due_in_seconds):
    """A message is due at the later of its delay and its instant, and never before it was stored."""
    row = message_row(message(**values), NOW_AT)
    assert row["first_due_at"] == NOW_AT + to_microseconds(due_in_seconds)
    assert row["stored_at"] == NOW_AT


@pytest.mark.parametrize(("expires_seconds", "expires_at"), [(None, None), (0.0, NOW_AT), (1.5, NOW_AT + 1_500_000)])
def test_when_a_message_expires(expires_seconds, expires_at):
    """Expiry counts from the instant of storing."""
    assert message_row(message(expires_seconds=expires_seconds), NOW_AT)["expires_at"] == expires_at


@pytest.mark.parametrize("seconds", [float("inf"), float("-inf"), 1e300, -1e300])
def test_instants_are_bounded(seconds):
    """However large a duration is, it and its sum with an instant fit into 64 bits."""
    assert abs(to_microseconds(seconds)) + NOW_AT < 2**63
    row = message_row(message(delay_seconds=seconds, expires_seconds=seconds, deliver_at=seconds), NOW_AT)
    assert all(abs(row[name]) < 2**63 for name in ("first_due_at", "expires_at"))


@pytest.mark.parametrize("seconds", [0.0, 0.000001, 0.5, 1.0, NOW, -3.25])
def test_seconds_are_kept_to_the_microsecond(seconds):
    """An instant goes through the store without losing what a person or a test could see."""
    assert to_seconds(to_microseconds(seconds)) == pytest.approx(seconds, abs=1e-6)


def test_replays_stand_before_everything_else_in_their_own_order():
    """The position of a replay is before any instant, behind earlier replays, and tells when it was made."""
    early, late = front_position(NOW_AT), front_position(NOW_AT + MICROSECONDS)
    assert -(2**63) < early < late < 0
    assert replayed_at(late) == NOW_AT + MICROSECONDS
