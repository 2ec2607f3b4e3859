"""settle: outcomes are written down in batches, kept through outages, and never more than are bounded."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.store_worker.settle_loop import BATCH, REFUSED_PAUSE_SECONDS
from ap4r.errors import StoreUnavailable
from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.settings.settings import Settings
from ap4r.storage.store import SettleResult
from tests.support.factories import message, messages
from tests.unit.dispatcher.world import World


def away(*args, **kwargs):
    """Fail as a store that is away."""
    raise StoreUnavailable("memory", "away")


def test_outcomes_of_a_few_milliseconds_are_settled_together(world):
    """Sixty messages that end together are one batch or two."""
    world.put(*messages(60))
    world.pass_time(0.1)
    assert world.database.records == {}
    assert world.store.calls["settle"] <= 3


def test_an_outcome_waits_milliseconds_only(world):
    """A single one too."""
    world.put(message())
    world.pass_time(0.011, step=0.001)
    assert world.database.records == {}


def test_outcomes_outlast_an_outage(world):
    """They are kept, and settled when the store answers again; nothing is called twice."""
    world.put(*messages(10))
    world.store.settle = away
    world.pass_time(5)
    assert len(world.targets.received) == 10
    assert len(world.database.records) == 10
    del world.store.settle
    world.pass_time(6)
    assert world.database.records == {}
    assert len(world.targets.received) == 10


def test_claiming_stops_when_too_many_are_kept():
    """What a crash could repeat stays bounded: concurrency and one batch."""
    world = World(Settings(bell="none", listen="none", concurrency=8)).start()
    world.store.settle = away
    world.put(*messages(500))
    world.pass_time(10)
    assert len(world.targets.received) == 8 + BATCH
    del world.store.settle
    world.pass_time(20)
    assert world.database.records == {}
    assert len(world.targets.received) == 500


def test_an_unknown_result_is_asked_for_again(world):
    """Whether it was written down is found out by settling again."""
    settle = world.store.settle

    def unsure(settlements, **options):
        world.store.settle = settle
        settle(settlements[:1])
        return [SettleResult.UNKNOWN] * len(settlements)

    world.store.settle = unsure
    world.put(*messages(3))
    world.pass_time(1.0)
    assert world.database.records == {}
    assert len(world.told(events.Settled)) == 2
    assert len(world.told(events.LeaseLost)) == 1


def test_one_that_cannot_be_written_keeps_none_back(world):
    """A batch that fails for a defect is settled one by one, and the faulty one is reported."""
    described = messages(5)
    settle = world.store.settle

    def choke(settlements, **options):
        if any(settlement.lease.message.id == described[2].id for settlement in settlements):
            raise ZeroDivisionError("a defect")
        return settle(settlements, **options)

    world.store.settle = choke
    world.put(*described)
    world.pass_time(10)
    assert list(world.database.records) == [described[2].id]
    assert any(described[2].id in event.doing for event in world.told(events.Unexpected))


class Choking:
    """A store's `settle` that fails, for no fault of the store's, on the messages that are named."""

    def __init__(self, world, *named):
        self._settle = world.store.settle
        self.ids = {one.id for one in named}
        world.store.settle = self

    def __call__(self, settlements, **options):
        """Settle, or fail."""
        if any(settlement.lease.message.id in self.ids for settlement in settlements):
            raise OSError(24, "Too many open files")
        return self._settle(settlements, **options)


def test_one_that_could_not_be_written_is_tried_again(world):
    """What failed for a passing reason, as no free file, is settled later without another call."""
    described = messages(3)
    choking = Choking(world, described[1])
    world.put(*described)
    world.pass_time(10)
    assert list(world.database.records) == [described[1].id]
    choking.ids.clear()
    world.pass_time(REFUSED_PAUSE_SECONDS)
    assert world.database.records == {}
    assert len(world.targets.received) == 3


def test_many_that_cannot_be_written_hold_up_no_other(world):
    """Ten that stay refused are tried in vain again and again, and every other outcome is written down at once."""
    refused = messages(10)
    Choking(world, *refused)
    world.put(*refused)
    world.pass_time(5)
    for _ in range(80):
        world.put(message())
        world.pass_time(1.0, step=0.05)
        assert set(world.database.records) == {one.id for one in refused}


def test_a_stop_tries_it_once_more(world):
    """A dispatcher that stops writes it down if it can by now, and leaves nothing behind."""
    described = message(delivery=Delivery.ONCE)
    choking = Choking(world, described)
    world.put(described)
    world.pass_time(2)
    choking.ids.clear()
    stopped = world.dispatcher.stopService()
    world.pass_time(5)
    assert stopped.called
    assert (world.database.records, world.database.members) == ({}, {})


@pytest.mark.parametrize("is_doubted", [False, True], ids=["stops", "comes again after a doubt"])
def test_what_was_called_is_never_handed_back_as_uncalled(world, is_doubted):
    """A `once` whose outcome cannot be written down is found by a rescue, as a dead letter, and not called again."""
    described = message(delivery=Delivery.ONCE)
    Choking(world, described)
    world.put(described)
    world.pass_time(2)
    if is_doubted:
        world.fail_after_claim(StoreUnavailable("memory", "connection lost", outcome_unknown=True))
        world.ring()
        world.pass_time(1)
        assert world.owners == 2
    else:
        world.dispatcher.stopService()
        world.pass_time(30, step=0.05)
        assert list(world.database.members) == ["owner-1"]
        world.dispatcher.startService()
    world.pass_time(60, step=0.05)
    assert "owner-1" not in world.database.members
    assert world.state_of(described) == "dead"
    assert len(world.targets.received) == 1
    # The dispatcher goes on with all others.
    world.put(message())
    world.pass_time(1)
    assert len(world.targets.received) == 2


def test_a_claim_that_ends_in_a_defect_loses_no_message(world):
    """A message of a failed claim is claimed again, and called once."""
    world.fail_after_claim(OSError(24, "Too many open files"))
    world.put(message())
    world.pass_time(5)
    assert len(world.targets.received) == 1
    assert world.database.records == {}
