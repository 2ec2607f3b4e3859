"""The use case `doctor`: what keeps messages of a store from being delivered soon."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from ap4r.control.dead_letters import PAGE
from ap4r.control.diagnosis import bell_notes, chain_findings, findings
from ap4r.control.trust_check import look, queues_that_feed_themselves, trust_findings, trust_notes
from ap4r.doorbell.address import is_listening
from ap4r.errors import OwnerLost, StoreUnavailable, StoreUnusable
from ap4r.settings.settings import Settings
from ap4r.storage.store import Store


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings about one store: a sentence for each problem that needs a person, and notes on the rest."""

    store: str
    findings: tuple[str, ...]
    signed: bool
    notes: tuple[str, ...]


def diagnose(store: Store, settings: Settings) -> Diagnosis:
    """Check a store, its dispatchers and its doorbells, and whether dispatcher and application share the secret.

    It sends a datagram to each doorbell and HTTP requests to the dispatcher and the application. It changes nothing.
    """
    trust = look(settings)
    bells = store.bells()
    heard = [bell for bell in bells if is_listening(bell)]
    found = [
        *_write_findings(store),
        *findings(store.status(), bells, heard),
        *trust_findings(trust),
        *chain_findings(queues_that_feed_themselves(settings, store.name), store.dead(limit=PAGE)),
    ]
    notes = (*bell_notes(bells, heard, socket.gethostname()), *trust_notes(trust))
    return Diagnosis(store.name, tuple(found), trust.signed, notes)


def _write_findings(store: Store) -> list[str]:
    # The heartbeat of a dispatcher that does not exist changes nothing, and fails like any write if the store can
    # only be read.
    try:
        store.beat("")
    except OwnerLost:
        pass
    except (StoreUnavailable, StoreUnusable) as error:
        return [f"nothing can be written to it, so no message is accepted or delivered: {error.problem}"]
    return []
