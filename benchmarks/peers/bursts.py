"""Measures bursts: how soon a thousand calls, put at once, are delivered by workers that had nothing to do before."""

from __future__ import annotations

import statistics
import time

from benchmarks.peers.measure import START_SECONDS, Figures, Spent
from benchmarks.peers.peer import Peer
from benchmarks.peers.served import Served, last_words
from benchmarks.peers.stores import Missing
from benchmarks.peers.works import Target

_PAUSE_SECONDS = 1.0


def bursts(peer: Peer, target: Target, figures: Figures, size: int, count: int, most_seconds: float) -> None:
    """Put burst after burst, and measure each from the beginning of its put to the arrival of its last.

    The put counts, because with one that takes a second most are delivered when it ends. The first burst opens the
    connections and does not count, but to a peer that is not done with it in time.
    """
    served = Served(target.sink, peer.log)
    rates: list[float] = []
    with peer.workers() as started, peer.bursts(target.url, size, count + 1) as put:
        roots = [process.pid for process in started]
        spent, before, last = Spent(peer, roots), 0, 0
        for number in range(count + 1):
            began_at = put()
            give_up_at = began_at + (most_seconds if number else START_SECONDS)
            last, ended_at = served.wait((number + 1) * size, give_up_at, started, 0.005)
            if not last:
                raise Missing(f"it delivers nothing: {last_words(peer.log)}")
            rates.append((last - number * size) / (ended_at - began_at))
            if last < (number + 1) * size:
                break
            if number == 0:
                spent, before = Spent(peer, roots), last
            if number < count:
                time.sleep(_PAUSE_SECONDS)
        spent.note(figures, last - before)
    figures.deliveries.append(statistics.median(rates[1:] or rates))
