"""Deliveries with MariaDB in place of SQLite, by one dispatcher and by four, in one run.

    python -m benchmarks.mariadb [--scale N] [--rounds N]

MariaDB as Debian installs it, with fsync on. What counts are the ratios: to SQLite, and of four to one.
"""

from __future__ import annotations

import glob
import sys

from benchmarks.backlog import open_database
from benchmarks.draining import Drained, Work, drain, middle
from benchmarks.figure import Figure, Options, Unavailable, run
from benchmarks.sink import nginx_sink


def measure(options: Options) -> list[Figure]:
    """Empty stores in turn.

    :raises Unavailable: MariaDB is not installed.
    """
    if not glob.glob("/usr/sbin/mariadbd"):
        raise Unavailable("MariaDB is not installed (apt-get install mariadb-server)")
    rounds: dict[tuple[str, int], list[Drained]] = {("sqlite", 1): [], ("mariadb", 1): [], ("mariadb", 4): []}
    with nginx_sink() as sink, open_database("sqlite") as files, open_database("mariadb") as server:
        places = {"sqlite": files, "mariadb": server}
        for number in range(options.rounds):
            for (kind, count), found in rounds.items():
                url = places[kind].url(f"drained_{count}_{number}")
                found.append(drain(url, sink, Work(f"{sink.url}/hook", options.count(10_000)), count=count))
    sqlite, one, four = (middle(found).per_second for found in rounds.values())
    return [
        Figure(
            "MariaDB to SQLite, deliveries", one / sqlite, "times", 0.5, True, f"{one:,.0f} to {sqlite:,.0f} a second"
        ),
        Figure("MariaDB, 4 dispatchers to 1", four / one, "times", 1.0, True, f"{four:,.0f} to {one:,.0f} a second"),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"mariadb": measure}))
