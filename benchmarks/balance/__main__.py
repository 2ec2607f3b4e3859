"""Call three servers, one stopped and one ten times slower, by each policy of balancing, and print one table.

    make bench-balance [ARGS="--rate N --seconds N --rounds N --json FILE --plot FILE --markdown FILE"]

Messages come at a steady rate; rounds of the policies alternate. docs/upstreams.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ap4r.settings.upstreams import LEAST_OUTSTANDING, RANDOM_TWO, ROUND_ROBIN
from benchmarks.balance.measure import SERVERS, Figures, Load, one_round
from benchmarks.balance.plot import draw

_POLICIES = (LEAST_OUTSTANDING, RANDOM_TWO, ROUND_ROBIN)
_HEADINGS = ("policy", *SERVERS, "p50 ms", "p99 ms", "answered/s", "cost an attempt")


def main() -> int:
    """Run the benchmark; exit 1 when a message cost an attempt."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.balance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=300.0, help="messages a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="that they come for, in a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each, of which the median counts (%(default)s)")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--plot", type=Path, help="write a picture (SVG) there")
    parser.add_argument("--markdown", type=Path, help="write the table there, in Markdown")
    arguments = parser.parse_args()
    found = [Figures(policy) for policy in _POLICIES]
    for number in range(arguments.rounds):
        for figures in found:
            told = f"round {number + 1} of {arguments.rounds}: {figures.policy}, load {os.getloadavg()[0]:.1f}"
            print(told, file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="ap4r-balance-") as folder:
                one_round(figures, Path(folder), Load(arguments.rate, arguments.seconds))
    rows = [_row(figures) for figures in found]
    print("\n".join("".join(f"{cell:>18}" if place else f"{cell:18}" for place, cell in enumerate(row)).rstrip()
                    for row in (_HEADINGS, *rows)))  # fmt: skip
    print(
        f"median of {arguments.rounds} rounds of {arguments.seconds:g} s at {arguments.rate:g} a second; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figures) for figures in found], indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(_as_markdown(rows))
    if arguments.plot:
        arguments.plot.write_text(draw(found))
    return 1 if any(figures.again for figures in found) else 0


def _row(figures: Figures) -> tuple[str, ...]:
    return (
        figures.policy,
        *(f"{figures.share(server):.1%}" for server in SERVERS),
        *(f"{statistics.median(seconds) * 1000:,.0f}" for seconds in (figures.p50, figures.p99)),
        f"{statistics.median(figures.per_second):,.0f}",
        str(figures.again),
    )


def _as_markdown(rows: Sequence[tuple[str, ...]]) -> str:
    rule = ("---", *["---:"] * (len(_HEADINGS) - 1))
    return "".join(f"| {' | '.join(line)} |\n" for line in (_HEADINGS, rule, *rows))


if __name__ == "__main__":
    sys.exit(main())
