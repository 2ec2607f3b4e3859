"""Where events are told and heard. Who tells knows nobody who listens."""

from __future__ import annotations

from collections.abc import Callable

from ap4r.events.events import Event

Subscriber = Callable[[Event], None]
Wish = Callable[[type[Event]], bool]


class Events:
    """Where events are told and heard: every subscriber hears every event, in order, at once."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._wishes: list[Wish] = []

    def subscribe(self, subscriber: Subscriber, wants: Wish = lambda kind: True) -> None:
        """Let `subscriber` hear every event from now on. It must not raise and must not wait.

        :param wants: tells whether it would do anything with an event of this kind at the moment.
        """
        self._subscribers.append(subscriber)
        self._wishes.append(wants)

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether anybody wants events of this kind now; those that come often need not be made for nobody."""
        for wish in self._wishes:  # noqa: SIM110 - asked for every message; a generator takes twice as long
            if wish(kind):
                return True
        return False

    def emit(self, event: Event) -> None:
        """Tell an event to everybody."""
        for subscriber in self._subscribers:
            subscriber(event)
