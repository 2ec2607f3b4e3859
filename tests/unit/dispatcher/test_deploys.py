"""Deploys: for a while some servers answer as if what they are asked for were not there, or not allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Delivered, RetryLater
from ap4r.settings.settings import Settings
from tests.support.factories import message, messages
from tests.unit.dispatcher.world import World, http

ROLLING_SECONDS = 600.0
SETTINGS = Settings(bell="none", listen="none", app_urls=("http://old:1", "http://new:1"))


def roll(world: World, status: int = 404) -> None:
    """Answer with a status as the server `old` until it is replaced."""

    def script(received):
        is_old = received.server == "old:1" and world.clock.seconds() < ROLLING_SECONDS
        return http(status) if is_old else http(200)

    world.targets.scripts["/job"] = script


def outcomes(world: World, kind: type) -> list[object]:
    return [event.outcome for event in world.told(events.Settled) if isinstance(event.outcome, kind)]


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(
    "backoff", [{}, {"backoff_first_seconds": 1.0, "backoff_factor": 1.0}], ids=["usual", "each second"]
)
def test_a_rolling_deploy_kills_no_message(status, backoff):
    """Half of the servers answer 4xx for ten minutes: all is delivered in the end."""
    world = World(replace(SETTINGS, **backoff)).start()
    roll(world, status)
    world.put(*messages(40, url="/job"))
    world.pass_time(ROLLING_SECONDS, step=0.5)
    world.pass_time(1_000, step=1.0)
    assert outcomes(world, Dead) == []
    assert len(outcomes(world, Delivered)) == 40
    assert world.database.records == {}


def test_every_server_may_be_old_for_ten_minutes():
    """Also a message that meets no other answer in all that time is delivered after it."""
    world = World(replace(SETTINGS, app_urls=("http://old:1",), backoff_first_seconds=1.0, backoff_factor=1.0)).start()
    roll(world)
    world.put(*messages(5, url="/job"))
    world.pass_time(ROLLING_SECONDS + 500, step=0.5)
    assert outcomes(world, Dead) == []
    assert len(outcomes(world, Delivered)) == 5


def test_what_is_never_there_is_a_dead_letter_after_a_quarter_of_an_hour():
    """Not before, and not much later; a message's own max_deliveries is what it was."""
    world = World(replace(SETTINGS, app_urls=("http://a:1",))).start()
    world.targets.scripts["/gone"] = http(404)
    usual, own, once = (
        message(url="/gone"), message(url="/gone", max_deliveries=3), message(url="/gone", delivery=Delivery.ONCE)
    )  # fmt: skip
    world.put(usual, own, once)
    world.pass_time(60, step=0.5)
    assert [world.state_of(one) for one in (usual, own, once)] == ["scheduled", "dead", "dead"]
    world.pass_time(800, step=0.5)
    assert world.state_of(usual) == "scheduled"
    world.pass_time(1_800, step=1.0)
    assert world.state_of(usual) == "dead"


@pytest.mark.parametrize("status", [401, 403])
def test_settings_that_keep_deliveries_out_are_waited_for(status):
    """After two days of 401 or 403 the message is there, and is delivered when the settings are right."""
    world = World(replace(SETTINGS, app_urls=("http://a:1",))).start()
    world.targets.scripts["/job"] = http(status)
    one = message(url="/job")
    world.put(one)
    world.pass_time(48 * 3_600, step=60.0)
    assert world.state_of(one) == "scheduled"
    assert {outcome.counts for outcome in outcomes(world, RetryLater)} == {False}
    assert world.told(events.TurnedAway)[0].status == status
    world.targets.scripts["/job"] = http(200)
    world.pass_time(3_700, step=10.0)
    assert world.state_of(one) is None
