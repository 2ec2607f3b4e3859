"""Deliver one webhook with ap4r and with other systems, on one sink, in one run, and print one table.

    make bench-peers [ARGS="--peers ap4r_1,taskiq --messages N --rounds N --json FILE --plot FILE --markdown FILE"]
    make bench-peers ARGS="--work all"    https, a slow target, large bodies, many names and bursts instead

Rounds of the peers alternate, because machines are noisy; of each figure the median is printed. docs/benchmarks.md
explains what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers import by_work, measure
from benchmarks.peers.measure import Figures
from benchmarks.peers.peer import PEERS
from benchmarks.peers.plot import draw
from benchmarks.peers.report import by_peer
from benchmarks.peers.stores import Missing, Stores
from benchmarks.peers.works import WORKS
from benchmarks.sink import nginx_sink


def main() -> int:
    """Run the benchmark; exit 1 when no peer could be measured."""
    arguments = _parsed()
    works = list(WORKS) if arguments.work == "all" else [name for name in arguments.work.split(",") if name]
    found = {module: Figures(module) for module in arguments.peers.split(",")}
    with tempfile.TemporaryDirectory(prefix="ap4r-peers-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if works:
            return by_work.run(folder, works, arguments)
        _measure_rates(found, folder, arguments)
        if arguments.kill_seconds:
            _measure_kills(found, folder, arguments)
    _write(list(found.values()), arguments)
    return 0 if any(not figures.skipped for figures in found.values()) else 1


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", default=",".join(PEERS), help="which, of %(default)s")
    parser.add_argument(
        "--work",
        default="",
        help=f"instead of the usual webhook, of {','.join(WORKS)}, or all; without latency and kill",
    )
    parser.add_argument("--messages", type=int, default=5_000, help="a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="a round of deliveries ends then (%(default)s)")
    parser.add_argument("--latency-messages", type=int, default=100, help="put one at a time; 0: none (%(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="of these a second (%(default)s)")
    parser.add_argument(
        "--kill-seconds",
        type=float,
        default=120.0,
        help="wait for a killed task to run again; 0: no kill (%(default)s)",
    )
    parser.add_argument("--fsync", choices=("always", "everysec"), default="always", help="of Redis (%(default)s)")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--plot", type=Path, help="write a picture (SVG) there")
    parser.add_argument("--markdown", type=Path, help="write the table there, in Markdown")
    arguments = parser.parse_args()
    for module in arguments.peers.split(","):
        if module not in PEERS:
            parser.error(f"there is no peer {module!r}; there are {', '.join(PEERS)}")
    for work in arguments.work.split(","):
        if work not in ("", "all", *WORKS):
            parser.error(f"there is no work {work!r}; there are {', '.join(WORKS)}")
    return arguments


def _measure_rates(found: dict[str, Figures], folder: Path, arguments: argparse.Namespace) -> None:
    with nginx_sink() as sink, Stores(folder, arguments.fsync) as stores:
        for number in range(arguments.rounds):
            for module, figures in found.items():
                if figures.skipped:
                    continue
                _say(f"round {number + 1} of {arguments.rounds}: {module}, load {os.getloadavg()[0]:.1f}")
                try:
                    peer = measure.opened(module, stores, folder, figures)
                    measure.throughput(peer, sink, figures, arguments.messages, arguments.seconds)
                    if number == 0 and arguments.latency_messages:
                        peer = measure.opened(module, stores, folder, figures)
                        measure.latency(peer, figures, arguments.latency_messages, arguments.rate)
                except Missing as error:
                    _skip(module, figures, error)


def _measure_kills(found: dict[str, Figures], folder: Path, arguments: argparse.Namespace) -> None:
    _say(f"killing the workers of all, and waiting at most {arguments.kill_seconds:g} s for the task to run again")

    def kill(module: str, figures: Figures) -> None:
        own = folder / f"kill-{module}"
        own.mkdir(mode=0o755)
        try:
            with Stores(own, arguments.fsync) as stores:
                measure.killed(measure.opened(module, stores, own, figures), figures, arguments.kill_seconds)
        except Missing as error:
            _say(f"{module}: the kill could not be tried: {error}")

    # Together, because all they do is wait.
    with ThreadPoolExecutor(len(found)) as threads:
        list(threads.map(kill, *zip(*((m, f) for m, f in found.items() if not f.skipped), strict=True)))


def _write(found: list[Figures], arguments: argparse.Namespace) -> None:
    table = by_peer(found)
    print(table.as_columns())
    print(
        f"median of {arguments.rounds} rounds of {arguments.messages:,} messages; Redis appendfsync {arguments.fsync};"
        f" latency at {arguments.rate:g} a second; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    )
    for figures in found:
        if figures.skipped:
            print(f"skipped: {figures.name}: {figures.skipped}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figures) for figures in found], indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(table.as_markdown() + "\n")
    if arguments.plot:
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        arguments.plot.write_text(draw(found))


def _skip(module: str, figures: Figures, error: Missing) -> None:
    figures.skipped = str(error)
    _say(f"{module} is skipped: {error}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
