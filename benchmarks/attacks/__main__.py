"""Put honest messages at a constant rate, in turns with and without attacks of every kind, and print one table.

    make bench-attacks [MINUTES=60] [ARGS="--turn 60 --rate 10 --connections 600 --most 2"]
    make bench-attacks MINUTES=20 ARGS="--turn 15 --each --kinds chunks,flood"

One dispatcher and one web server of one store, everything on loopback. The attackers attack at fixed rates, at a nice
value of 10 and on the last core, all else on the other cores (the processes in which the dispatcher reads what is large
may use all of them): what attackers cost by themselves is not measured. Latency is judged by a typical turn, the median
over all turns of one sort, so that what else the machine does for some seconds does not count. It ends with 1 when the
honest wait longer than --most allows, when anything honest is lost, refused or doubled, or when memory or descriptors
grow. docs/security.md says what is attacked, and how.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.attacks.attackers import kinds
from benchmarks.attacks.honest import HonestLoad
from benchmarks.attacks.report import Found, Turn
from benchmarks.attacks.system import HONEST_TOKEN, NICE, System
from tests.support.processes import Processes

_SAMPLE_SECONDS = 5.0
#: For so long a quiet turn is not measured: processes have just started, or what attackers began is still being ended.
_SETTLE_SECONDS = 25.0
_SETTLED_SECONDS = 60.0


def main() -> int:
    """Run the benchmark; exit 1 after a fault."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="of all turns (%(default)s)")
    parser.add_argument("--turn", type=float, default=0.0, help="seconds of each (a fifth of all, 60 at most)")
    parser.add_argument("--rate", type=float, default=10.0, help="honest puts a second (%(default)s)")
    parser.add_argument("--connections", type=int, default=600, help="that the flood holds (%(default)s)")
    parser.add_argument(
        "--most", type=float, default=2.0, help="by what p50 and p99 may grow; 0: not judged (%(default)s)"
    )
    parser.add_argument("--kinds", default="", help="parts of names of kinds of attack, with commas between (all)")
    parser.add_argument("--each", action="store_true", help="one kind at a time; each has a turn in so many minutes")
    arguments = parser.parse_args()
    arguments.turn = arguments.turn or min(60.0, arguments.minutes * 60 / 5)
    arguments.chosen = [kind for kind in kinds() if any(part in kind for part in arguments.kinds.split(","))]
    if not arguments.chosen:
        parser.error(f"no kind of attack is called {arguments.kinds}: {', '.join(kinds())}")
    with tempfile.TemporaryDirectory(prefix="ap4r-attacks-") as folder, Processes(Path(folder)) as started:
        found = run(started, arguments)
    print(found.table())
    print(
        f"{len(found.turns)} turns of {arguments.turn:g} s, {arguments.rate:g} honest puts a second; attackers at nice "
        f"{NICE} and fixed rates, {found.cores}; load {found.load:.1f} at the end"
    )
    faults = found.faults(arguments.most)
    print("\n".join(f"FAULT: {fault}" for fault in faults) or "nothing is at fault", flush=True)
    return 1 if faults else 0


def run(started: Processes, arguments: argparse.Namespace) -> Found:
    """Run all turns, the first and the last of them quiet."""
    system = System(started, arguments.connections)
    honest = HonestLoad(system.web_port, system.listen_port, HONEST_TOKEN, arguments.rate, system.folder / "arrivals")
    now = time.monotonic()
    found = Found(now, system.sample(now), system.sample(now))
    found.cores = f"on core {system.hostile_cores}, all else on {system.honest_cores}"
    honest.start()
    count = max(3, round(arguments.minutes * 60 / arguments.turn) // 2 * 2 + 1)
    for number in range(count):
        attacked = number % 2 == 1
        alone = arguments.chosen[number // 2 % len(arguments.chosen)] if attacked and arguments.each else ""
        with _measuring(system, found, attacked):
            made = system.made()
            system.attack(([alone] if alone else arguments.chosen) if attacked else None)
            begins_at = time.monotonic()
            settle = 0.0 if attacked else min(_SETTLE_SECONDS, arguments.turn / 2)
            found.turns.append(Turn(attacked, begins_at + settle, begins_at + arguments.turn, alone))
            _sample(system, found, begins_at + arguments.turn, min(_SAMPLE_SECONDS, arguments.turn / 6))
        if attacked:
            found.made.append(system.made() - made)
        found.puts, found.arrived, found.longest_turns = honest.puts, honest.arrived(), system.longest_turns()
        print(f"turn {number + 1} of {count}, {found.last_turn()}", file=sys.stderr, flush=True)
    honest.stop()
    give_up_at = time.monotonic() + _SETTLED_SECONDS
    while (honest.missing() or system.unsettled()) and time.monotonic() < give_up_at:
        time.sleep(0.5)
    found.puts, found.arrived, found.after = honest.puts, honest.arrived(), system.sample(time.monotonic())
    found.longest_turns = system.longest_turns()
    found.effects, found.breaches, found.attacks = system.effects(), system.breaches(), system.attacks()
    found.unsettled, found.dead, found.load = system.unsettled(), system.dead(), os.getloadavg()[0]
    return found


@contextmanager
def _measuring(system: System, found: Found, attacked: bool) -> Iterator[None]:
    before, began_at = system.cpu_seconds(), time.monotonic()
    yield
    for name, seconds in system.cpu_seconds().items():
        found.cpu_seconds[attacked][name] += seconds - before[name]
    found.measured_seconds[attacked] += time.monotonic() - began_at


def _sample(system: System, found: Found, ends_at: float, every_seconds: float) -> None:
    while (now := time.monotonic()) < ends_at:
        found.samples.append(system.sample(now))
        time.sleep(max(0.0, min(ends_at, now + every_seconds) - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
