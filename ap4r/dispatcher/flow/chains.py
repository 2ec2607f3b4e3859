"""Queues that feed themselves: their messages are far along a chain of deliveries, each asking for the next."""

from __future__ import annotations

from ap4r.dispatcher.flow.bounded_dict import Remembered
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.message.depth import DEEP, depth_of
from ap4r.message.message import Message

AGAIN_SECONDS = 600.0  #: between two lines about the same queue
_MOST_QUEUES = 1_000


class Chains:
    """Reports a queue that feeds itself, once in a while, and remembers it for as long."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told: Remembered[str, int] = Remembered(_MOST_QUEUES, AGAIN_SECONDS)

    def look(self, message: Message, now: float) -> None:
        """Check the depth of a message that is called now.

        :param now: monotonic seconds.
        """
        depth = depth_of(message.headers)
        if depth >= DEEP and self._told.get(message.queue, now) is None:
            self._told.put(message.queue, depth, now)
            self._events.emit(happened.QueueFeedsItself(message.queue, message.target.url, depth))

    def queues(self, now: float) -> list[str]:
        """Return the queues that were reported recently."""
        return sorted(queue for queue, _ in self._told.items(now))
