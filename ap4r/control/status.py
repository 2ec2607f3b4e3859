"""The use case `status`: what waits in a store, what is dead, and which dispatchers deliver."""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.storage.reports import StoreStatus, is_stuck
from ap4r.storage.store import Store


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The counts of one store. `stuck`: messages have been due for a minute and no dispatcher of it is alive."""

    store: str
    stuck: bool
    figures: StoreStatus


def status(store: Store) -> StatusReport:
    """Return the counts of a store."""
    figures = store.status()
    return StatusReport(store.name, is_stuck(figures), figures)
