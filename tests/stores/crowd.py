"""Many who use stores at once: `python -m tests.stores.crowd ROLE THREADS SECONDS|PUTS FOLDER URL…`.

Each thread has a store of its own on one of the URLs, as if it were a process. Writers put messages; claimers take
them, hold them for a moment and settle them; `drain` takes what there is without a pause; `count` puts so many single
messages. What each did is written to a file
of its own in FOLDER as lines of JSON: `put` with ids, `held` with an id and the times between which the lease was held,
`settled`, and at the end `retried`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from ap4r.errors import OwnerLost, StoreError, StoreUnavailable
from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered, Failure, Outcome, PutBack, Reason, RetryLater
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from ap4r.storage.sql_store import SqlStore
from ap4r.storage.store import Settlement, SettleResult
from tests.support.factories import message

LANES = 12
#: Of a call. Longer than the default: dozens of threads on a busy machine may wait for the processor alone for seconds,
#: without any conflict. Conflicts and locks are reported all the same.
DEADLINE_SECONDS = 20.0
_CLAIMED_AT_ONCE = 25


class Member:
    """One thread with a store of its own and a file to write to."""

    def __init__(self, name: str, url: str, amount: float, folder: Path) -> None:
        self.name = name
        self.store: SqlStore = open_store(url, Settings(store=url, store_deadline_seconds=DEADLINE_SECONDS))
        self.until = time.time() + amount
        self.puts = int(amount)
        self._file: TextIO = (folder / f"{name}.jsonl").open("w", buffering=1)

    def say(self, kind: str, **facts: Any) -> None:
        """Write one line."""
        self._file.write(json.dumps({"kind": kind, **facts}) + "\n")

    def end(self) -> None:
        """Record how often the store retried, and close it."""
        self.say("retried", count=self.store.retried)
        self.store.close()
        self._file.close()


def write(member: Member) -> None:
    """Put until the time is over. What is in doubt is put again until it is certain, as a client would."""
    while time.time() < member.until:
        count = random.choice((1, 1, 1, 3, 8))
        delay_seconds = random.choice((0.0, 0.0, 0.0, 0.3))
        made = tuple(message(f"q{random.randrange(LANES)}", delay_seconds=delay_seconds) for _ in range(count))
        put = Put(new_id(), made)
        ids = [one.id for one in made]
        member.say("trying", ids=ids)
        try:
            member.store.put(put)
        except StoreUnavailable as error:
            member.say("error", call="put", text=str(error), unknown=error.outcome_unknown, at=time.time())
            time.sleep(0.05)
        else:
            member.say("put", ids=ids, at=time.time())


def count(member: Member) -> None:
    """Put so many messages, one by one; nothing is tried again."""
    for _ in range(member.puts):
        one = message(f"q{random.randrange(LANES)}")
        member.say("trying", ids=[one.id])
        began = time.monotonic()
        try:
            member.store.put(Put(new_id(), (one,)))
        except StoreUnavailable as error:
            member.say("error", call="put", text=str(error), unknown=error.outcome_unknown, at=time.time())
        else:
            member.say("put", ids=[one.id], at=time.time(), seconds=time.monotonic() - began)


def drain(member: Member) -> None:
    """Claim without a pause, so that messages are met at the very moment of their commit, and settle at once."""
    claim(member, patient=False)


def claim(member: Member, *, patient: bool = True) -> None:
    """Claim and settle until the time is over and nothing is left."""
    kept: list[Settlement] = []
    registered, in_doubt = False, False
    owner = f"{member.name}-{new_id()}"
    empty_since: float | None = None
    while True:
        try:
            if in_doubt:
                # What the last claim has brought is not known: whatever it was goes back.
                member.store.unregister(owner)
                in_doubt = registered = False
            if not registered:
                owner = f"{member.name}-{new_id()}"
                member.store.register(owner, member.name, "1", "")
                registered = True
            if kept:
                _settle(member, kept)
                kept = []
            claimed = member.store.claim(owner, _CLAIMED_AT_ONCE)
        except OwnerLost:
            registered = False
            continue
        except StoreError as error:
            call = "settle" if kept else "claim"
            unknown = getattr(error, "outcome_unknown", False)
            member.say("error", call=call, text=str(error), unknown=unknown, at=time.time())
            in_doubt = in_doubt or (call == "claim" and unknown)
            time.sleep(0.05)
            continue
        if claimed.leases:
            empty_since = None
            at = time.monotonic()
            for lease in claimed.leases:
                member.say("claimed", id=lease.message.id, at=at)
            time.sleep(random.uniform(0.0, 0.01) if patient else 0.0)
            kept = [Settlement(lease, _outcome()) for lease in claimed.leases]
            continue
        if time.time() > member.until:
            empty_since = empty_since or time.monotonic()
            if time.monotonic() - empty_since > 2.0:
                break
        time.sleep(0.02 if patient else 0.0)
    member.store.unregister(owner)


def _settle(member: Member, kept: list[Settlement]) -> None:
    at = time.monotonic()
    for settlement, answer in zip(kept, member.store.settle(kept), strict=True):
        delivered = isinstance(settlement.outcome, Delivered)
        member.say("held", id=settlement.lease.message.id, until=at, answer=answer.value, delivered=delivered)
        assert answer is not SettleResult.UNKNOWN


def _outcome() -> Outcome:
    chance = random.random()
    if chance < 0.03:
        return PutBack()
    if chance < 0.06:
        return RetryLater(Failure(Reason.STATUS, 500, "again", 0.01), random.choice((0.0, 0.1)), counts=True)
    return Delivered()


def main(role: str, threads: str, amount: str, folder: str, *urls: str) -> None:
    """Run the threads of one process."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    work = {"write": write, "claim": claim, "drain": drain, "count": count}[role]
    members = [
        Member(f"{role}-{os.getpid()}-{number}", urls[number % len(urls)], float(amount), Path(folder))
        for number in range(int(threads))
    ]
    failures: list[BaseException] = []

    def run(member: Member) -> None:
        try:
            work(member)
        except BaseException as error:  # noqa: BLE001 - told by the exit code
            member.say("error", call="crowd", text=repr(error), unknown=False, at=time.time())
            failures.append(error)
        finally:
            member.end()

    running = [threading.Thread(target=run, args=(member,)) for member in members]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
