"""Events: sent to all subscribers, in order."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from ap4r.events.bus import Events
from ap4r.events.events import Claimed, Event, OwnerWasLost


def test_every_subscriber_hears_every_event_in_order():
    """Each subscriber receives the events after its subscription, in their order."""
    heard_first, heard_second = [], []
    events = Events()
    events.subscribe(heard_first.append)
    events.emit(Claimed(1))
    events.subscribe(heard_second.append)
    events.emit(OwnerWasLost("me"))
    assert heard_first == [Claimed(1), OwnerWasLost("me")]
    assert heard_second == [OwnerWasLost("me")]


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_an_event_cannot_be_changed_and_says_what_it_is(kind):
    """An event is a frozen value with a docstring: one subscriber cannot spoil it for the next."""
    assert dataclasses.fields(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__
    assert not kind.__doc__.startswith(kind.__name__ + "(")
