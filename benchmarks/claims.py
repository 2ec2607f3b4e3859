"""The cost of a claim with millions of waiting messages beside one with a few thousand, on each database.

    python -m benchmarks.claims [--stores sqlite,mariadb,postgresql] [--waiting N] [--few N] [--claims N]
                                [--passing N] [--lanes N] [--most RATIO]

Two stores on one server, one full and one nearly empty, are claimed from in turn, because machines are noisy; what
counts is the ratio of the medians. The full one also holds scheduled messages and dead letters. Then:
`held`: all lanes but one are held, of --lanes. `passing`: so many messages pass through while another transaction
stays open, which keeps the database from removing deleted rows.
The servers are MariaDB and PostgreSQL as Debian installs them, with fsync on, in a temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Collection

from ap4r.outcome.outcome import Delivered
from ap4r.storage.sql_store import SqlStore
from ap4r.storage.store import Settlement
from benchmarks.backlog import Database, open_database

_CLAIMED = 100
_BESIDE = 100_000  #: scheduled messages and dead letters beside the waiting ones
OWNER = "benchmark"


def main() -> int:
    """Run the benchmark; exit 1 when a ratio is over --most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", default="sqlite,mariadb,postgresql", help="which databases (%(default)s)")
    parser.add_argument("--waiting", type=int, default=5_000_000, help="messages of the full store (%(default)s)")
    parser.add_argument("--few", type=int, default=5_000, help="messages of the other one (%(default)s)")
    parser.add_argument("--claims", type=int, default=40, help="claims of 100 from each (%(default)s)")
    parser.add_argument("--lanes", type=int, default=10_000, help="lanes, of which all but one are held (%(default)s)")
    parser.add_argument("--passing", type=int, default=200_000, help="messages that pass through (%(default)s)")
    parser.add_argument("--most", type=float, default=0.0, help="fail when full / few is more than this")
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{'ms, median':14}{'few':>9}{'full':>9}{'ratio':>9}{'held':>9}{'before':>9}{'passing':>9}", flush=True)
    for kind in arguments.stores.split(","):
        with open_database(kind) as database:
            few, full = beside(database, arguments)
            held = with_lanes_held(database, arguments)
            before, after = while_many_pass(database, arguments)
            worst = max(worst, full / few)
            figures = "".join(f"{value * 1000:>9.2f}" for value in (few, full))
            figures += f"{full / few:>9.2f}" + "".join(f"{value * 1000:>9.2f}" for value in (held, before, after))
            print(f"{kind:14}{figures}", flush=True)
    beside_it = min(_BESIDE, arguments.waiting)
    print(
        f"few: {arguments.few:,} waiting; full: {arguments.waiting:,}, and {beside_it:,} scheduled and as many dead; "
        f"held: {arguments.lanes - 1:,} of {arguments.lanes:,} lanes are; passing: after {arguments.passing:,} "
        "messages have passed under an open transaction, before: without"
    )
    if arguments.most and worst > arguments.most:
        print(f"full / few is {worst:.2f}, more than {arguments.most}", file=sys.stderr)
        return 1
    return 0


def beside(database: Database, arguments: argparse.Namespace) -> tuple[float, float]:
    """Claim from a store with few and one with many in turn; return the median seconds of each."""
    with database.backlog("few") as few, database.backlog("full") as full:
        beside_it = min(_BESIDE, arguments.waiting)
        few.fill(10, ready=arguments.few)
        full.fill(10, ready=arguments.waiting, scheduled=beside_it, dead=beside_it)
        seconds: dict[SqlStore, list[float]] = {few.store: [], full.store: []}
        for store in seconds:
            store.register(OWNER, OWNER, "1", "")
            claim_and_settle(store)
        for _ in range(min(arguments.claims, arguments.few // _CLAIMED - 1)):
            for store, taken in seconds.items():
                taken.append(claim_and_settle(store))
        return statistics.median(seconds[few.store]), statistics.median(seconds[full.store])


def with_lanes_held(database: Database, arguments: argparse.Namespace) -> float:
    """Claim where all lanes but one are held; return the median seconds."""
    with database.backlog("held") as backlog:
        backlog.fill(arguments.lanes, ready=arguments.lanes * 10)
        backlog.store.register(OWNER, OWNER, "1", "")
        held = range(2, arguments.lanes + 1)
        return statistics.median(claim_and_settle(backlog.store, 2, held) for _ in range(5))


def while_many_pass(database: Database, arguments: argparse.Namespace) -> tuple[float, float]:
    """Pass many messages through while a transaction is open; return the median seconds of a claim before and after."""
    with database.backlog("passing") as backlog:
        backlog.fill(3, ready=arguments.passing + 50 * _CLAIMED)
        store = backlog.store
        store.register(OWNER, OWNER, "1", "")
        claim_and_settle(store)
        before = statistics.median(claim_and_settle(store) for _ in range(20))
        with backlog.open_transaction():
            for _ in range(arguments.passing // 1_000):
                claim_and_settle(store, 1_000)
            after = statistics.median(claim_and_settle(store) for _ in range(20))
        return before, after


def claim_and_settle(store: SqlStore, limit: int = _CLAIMED, held: Collection[int] = ()) -> float:
    """Claim so many, which must be there, and settle them; return the seconds that the claim took."""
    began = time.perf_counter()
    leases = store.claim(OWNER, limit, excluded=held).leases
    seconds = time.perf_counter() - began
    assert len(leases) == limit, f"{len(leases)} of {limit} messages came"
    store.settle([Settlement(lease, Delivered()) for lease in leases])
    return seconds


if __name__ == "__main__":
    sys.exit(main())
