"""What a store worker does now, and what it holds. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class WorkerState(Enum):
    """What a store worker does now."""

    CLOSED = "closed"
    OPENING = "opening"  #: it waits for the store, or registers in it
    WORKING = "working"
    IN_DOUBT = "in doubt"  #: the store may hold leases of this dispatcher that it does not know; it claims nothing
    DRAINING = "draining"  #: it claims nothing, ends its calls and leaves the store


class WorkerStatus:
    """The state of one store worker. The worker changes it; its loops read it."""

    def __init__(self) -> None:
        self.state = WorkerState.CLOSED
        #: Whether the answer to a claim was lost and the worker has not registered again since. It outlasts the
        #: beginning of a drain.
        self.in_doubt = False

    def opening(self) -> None:
        """Record that the worker opens its store."""
        self.state = WorkerState.OPENING

    def opened(self) -> bool:
        """Let the worker work, now that it is registered. Return False when it stops by now."""
        if self.state is not WorkerState.OPENING:
            return False
        # Its owner id is new, so no lease is in doubt.
        self.in_doubt = False
        self.state = WorkerState.WORKING
        return True

    def doubted(self) -> None:
        """Record that the answer to a claim was lost."""
        self.in_doubt = True
        if self.state is WorkerState.WORKING:
            self.state = WorkerState.IN_DOUBT

    def registered_again(self) -> None:
        """Record that the worker has a new owner id, so that no lease of the old one counts as its own."""
        self.in_doubt = False
        if self.state is WorkerState.IN_DOUBT:
            self.state = WorkerState.WORKING

    def draining(self) -> None:
        """Record that the worker stops."""
        self.state = WorkerState.DRAINING

    def closed(self) -> None:
        """Record that the worker has left its store."""
        self.state = WorkerState.CLOSED

    @property
    def is_open(self) -> bool:
        """Whether the worker is registered and not about to leave."""
        return self.state in (WorkerState.WORKING, WorkerState.IN_DOUBT)

    @property
    def may_claim(self) -> bool:
        """Whether claims may be made."""
        return not self.in_doubt


class HeldMessages(Protocol):
    """The messages that a worker has claimed and not handed over for settling."""

    @property
    def held(self) -> int:
        """How many there are."""


class UnsettledOutcomes(Protocol):
    """The outcomes that are not written to the store yet."""

    @property
    def kept(self) -> int:
        """How many are settled as soon as the store answers."""

    @property
    def refused(self) -> int:
        """How many could not be written although the store is well."""


class Holdings:
    """What one store worker holds in its hands."""

    def __init__(self, deliveries: HeldMessages, outcomes: UnsettledOutcomes, status: WorkerStatus) -> None:
        self._deliveries, self._outcomes, self._status = deliveries, outcomes, status

    @property
    def refused(self) -> int:
        """How many outcomes of called messages could not be written."""
        return self._outcomes.refused

    @property
    def is_empty(self) -> bool:
        """Whether no message is held that the worker knows of, apart from those that are refused."""
        return not self._deliveries.held and not self._outcomes.kept

    @property
    def needs_heartbeat(self) -> bool:
        """Whether the store may hold leases of this dispatcher, so that it must prove that it lives."""
        return self._status.in_doubt or not self.is_empty or bool(self._outcomes.refused)


class WorkerListener(Protocol):
    """What the loops of a store worker report to it."""

    def owner_lost(self, owner: str) -> None:
        """Receive that the store no longer knows this owner id: its leases belong to others."""

    def claim_in_doubt(self) -> None:
        """Receive that the answer to a claim was lost."""

    def registered_again(self) -> None:
        """Receive that the worker has a new owner id and may claim."""

    def outcomes_settled(self, put_back: bool) -> None:
        """Receive that a batch was settled, and whether a message of it was put back."""
