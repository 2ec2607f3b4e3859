"""The state of a store worker, and the messages that it holds. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class WorkerState(Enum):
    """The state of a store worker."""

    CLOSED = "closed"
    OPENING = "opening"  #: it waits for the store, or registers in it
    WORKING = "working"
    IN_DOUBT = "in doubt"  #: the store may hold leases for this dispatcher that did not arrive here; it claims nothing
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
        """Record that the worker is registered and can work; return False if it is stopping already."""
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
        """Their number."""


class UnsettledOutcomes(Protocol):
    """The outcomes that are not written to the store yet."""

    @property
    def kept(self) -> int:
        """The number that is settled as soon as the store answers."""

    @property
    def refused(self) -> int:
        """The number that could not be stored although the store works."""


class Holdings:
    """The messages and outcomes that one store worker holds."""

    def __init__(self, deliveries: HeldMessages, outcomes: UnsettledOutcomes, status: WorkerStatus) -> None:
        self._deliveries, self._outcomes, self._status = deliveries, outcomes, status

    @property
    def refused(self) -> int:
        """The number of outcomes of called messages that could not be stored."""
        return self._outcomes.refused

    @property
    def is_empty(self) -> bool:
        """Whether the worker knows of no held message, apart from the refused ones."""
        return not self._deliveries.held and not self._outcomes.kept

    @property
    def needs_heartbeat(self) -> bool:
        """Whether the store may hold leases of this dispatcher, so that it must prove that it lives."""
        return self._status.in_doubt or not self.is_empty or bool(self._outcomes.refused)


class WorkerListener(Protocol):
    """The reports of a store worker's loops."""

    def owner_lost(self, owner: str) -> None:
        """Handle the loss of this owner id: its leases belong to others."""

    def claim_in_doubt(self) -> None:
        """Handle the lost answer to a claim."""

    def registered_again(self) -> None:
        """Handle a new owner id, with which the worker may claim."""

    def outcomes_settled(self, put_back: bool) -> None:
        """Handle a settled batch; `put_back`: whether a message of it was put back."""
