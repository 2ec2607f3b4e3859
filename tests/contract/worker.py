"""One of several processes that use a store at once: `python -m tests.contract.worker JOB URL ARGUMENT`.

It says "ready", waits for a line, does its job, and prints what it did as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered, PutBack
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from ap4r.storage.store import Settlement, SettleResult, Store
from tests.support.factories import message
from tests.support.probe import wait_until


def put(store: Store, name: str, count: int) -> list[str]:
    """Store so many messages, one put each; return their ids."""
    stored = []
    for _ in range(count):
        one = message(f"queue.{name}")
        store.put(Put(new_id(), (one,)))
        stored.append(one.id)
    return stored


def drain(store: Store, name: str, count: int) -> list[str]:
    """Claim and deliver until `count` messages of the queue `stop` have come; return the ids of the others."""
    store.register(name, name, "1", "")
    settled, stops = [], 0
    while stops < count:
        wait_until(lambda: store.look().due, "something is due", timeout_seconds=60.0, every_seconds=0.002)
        outcomes: list[Settlement] = []
        for lease in store.claim(name, 50).leases:
            stops += lease.message.queue == "stop"
            # What would stop the others is theirs.
            mine = lease.message.queue != "stop" or stops <= count
            outcomes.append(Settlement(lease, Delivered() if mine else PutBack()))
            settled += [lease.message.id] if lease.message.queue != "stop" else []
        assert set(store.settle(outcomes)) <= {SettleResult.SETTLED}
    store.unregister(name)
    return settled


def prepare(store: Store, name: str, count: int) -> list[str]:
    """Create the tables, and store so many messages."""
    store.prepare()
    return put(store, name, count)


_JOBS: dict[str, Callable[[Store, str, int], list[str]]] = {"put": put, "drain": drain, "prepare": prepare}


def main(job: str, url: str, name: str, count: str) -> None:
    """Do one job."""
    store = open_store(url, Settings(store=url))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    json.dump(_JOBS[job](store, name, int(count)), sys.stdout)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
