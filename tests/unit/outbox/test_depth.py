"""How deep a message is, from the request that asks for it to the delivery."""

from __future__ import annotations

import pytest

from ap4r.control.diagnosis import chain_findings
from ap4r.describe.message_json import fields_of
from ap4r.dispatcher.flow.chains import AGAIN_SECONDS, Chains
from ap4r.events import events
from ap4r.events.bus import Events
from ap4r.message.depth import depth_of, depth_within
from tests.support.factories import message


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({}, 0),
        ({"HTTP_AP4R_DEPTH": "7"}, 0),
        ({"HTTP_AP4R_MESSAGE_ID": "1"}, 1),
        ({"HTTP_AP4R_MESSAGE_ID": "1", "HTTP_AP4R_DEPTH": "0"}, 1),
        ({"HTTP_AP4R_MESSAGE_ID": "1", "HTTP_AP4R_DEPTH": "41"}, 42),
        ({"HTTP_AP4R_MESSAGE_ID": "1", "HTTP_AP4R_DEPTH": "-1"}, 1),
        ({"HTTP_AP4R_MESSAGE_ID": "1", "HTTP_AP4R_DEPTH": "\u0664"}, 1),
        ({"HTTP_AP4R_MESSAGE_ID": "1", "HTTP_AP4R_DEPTH": "9" * 5_000}, 1),
    ],
)
def test_what_a_request_asks_for_is_one_deeper_than_itself(environ, depth):
    """Within a delivery, whatever stands in the header; elsewhere the header means nothing."""
    assert depth_within(environ) == depth


def test_a_deep_queue_is_reported_once_in_a_while():
    """From a depth of 10 on, each queue by itself, again after ten minutes."""
    told = []
    bus = Events()
    bus.subscribe(told.append)
    chains = Chains(bus)
    shallow, deep = message(headers=(("Ap4r-Depth", "9"),)), message(headers=(("Ap4r-Depth", "10"),))
    chains.look(shallow, 0.0)
    assert (told, chains.queues(0.0)) == ([], [])
    for now in (0.0, 1.0, AGAIN_SECONDS):
        chains.look(deep, now)
    assert told == [events.QueueFeedsItself(deep.queue, deep.target.url, 10)]
    assert chains.queues(AGAIN_SECONDS) == [deep.queue]
    chains.look(deep, AGAIN_SECONDS + 1)
    assert len(told) == 2


def test_the_intake_receives_the_depth():
    """A put through another dispatcher keeps it, apart from the headers that callers may give."""
    fields = fields_of(message(headers=(("X-Own", "1"), ("Ap4r-Depth", "3"))))
    assert (fields["depth"], fields["headers"]) == (3, {"X-Own": "1"})
    assert "depth" not in fields_of(message())
    assert depth_of(message().headers) == 0


def test_the_doctor_names_the_queue():
    """From what a dispatcher tells."""
    [found] = chain_findings(["queue.a"], [])
    assert found.startswith("queue queue.a feeds itself")
    assert chain_findings([], []) == []
