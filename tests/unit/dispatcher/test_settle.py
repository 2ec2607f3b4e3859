"""settle: outcomes are written down in batches, kept through outages, and never more than are bounded."""

from __future__ import annotations

from ap4r import events
from ap4r.dispatcher.settle import BATCH
from ap4r.errors import StoreUnavailable
from ap4r.settings import Settings
from ap4r.storage.store import Settled
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
        return [Settled.UNKNOWN] * len(settlements)

    world.store.settle = unsure
    world.put(*messages(3))
    world.pass_time(1.0)
    assert world.database.records == {}
    assert len(world.told(events.Settled)) == 2
    assert len(world.told(events.LeaseLost)) == 1


def test_one_that_cannot_be_written_keeps_none_back(world):
    """A batch that fails for a defect is settled one by one, and the one at fault is told."""
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
