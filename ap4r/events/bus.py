"""Delivers events to subscribers. Code that emits events does not depend on its subscribers."""

from __future__ import annotations

from collections.abc import Callable

from ap4r.events.events import Event

Subscriber = Callable[[Event], None]
Wish = Callable[[type[Event]], bool]


class Events:
    """Delivers events: every subscriber receives every event, in order, synchronously."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._wishes: list[Wish] = []

    def subscribe(self, subscriber: Subscriber, wants: Wish = lambda kind: True) -> None:
        """Call `subscriber` with every event from now on. It must not raise and must not block.

        :param wants: whether it would currently do anything with an event of this kind.
        """
        self._subscribers.append(subscriber)
        self._wishes.append(wants)

    def wants(self, kind: type[Event]) -> bool:
        """Return whether any subscriber wants events of this kind now; frequent events need not be built otherwise."""
        for wish in self._wishes:  # noqa: SIM110 - called for every message; a generator takes twice as long
            if wish(kind):
                return True
        return False

    def emit(self, event: Event) -> None:
        """Pass an event to every subscriber."""
        for subscriber in self._subscribers:
            subscriber(event)
