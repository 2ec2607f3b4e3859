"""What a benchmark found, beside the goal; and the command line that all benchmarks with goals share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One number; of a `least` the goal is what it must reach, of the others what it must not exceed."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    least: bool = False
    beside: str = ""  #: what it was measured beside

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached; without one it is."""
        return self.goal is None or (self.value >= self.goal if self.least else self.value <= self.goal)


@dataclass(frozen=True)
class Options:
    """How long to measure: `scale` 1 is as the docs show it, 0.01 is enough to see that it runs."""

    scale: float = 1.0
    rounds: int = 3

    def count(self, number: int, least: int = 20) -> int:
        """Return so many, scaled."""
        return max(least, round(number * self.scale))


Measure = Callable[[Options], list[Figure]]


def as_table(figures: Sequence[Figure]) -> str:
    """Return a line for each figure, with its goal."""
    lines = [f"{'':58}{'found':>12}  {'goal':14}"]
    for figure in figures:
        goal = ""
        if figure.goal is not None:
            goal = f"{'≥' if figure.least else '≤'} {_text(figure.goal)}{'' if figure.is_met else '  missed'}"
        name = f"{figure.what}, {figure.unit}"
        lines.append(f"{name:58}{_text(figure.value):>12}  {goal:18}{figure.beside}".rstrip())
    return "\n".join(lines)


def run(about: str | None, measures: dict[str, Measure]) -> int:
    """Run benchmarks from the command line and print one table; with --strict exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="part of the usual messages and seconds (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each, of which the median counts (%(default)s)")
    parser.add_argument("--strict", action="store_true", help="fail when a goal is missed")
    parser.add_argument("--json", type=Path, help="write the figures there")
    if len(measures) > 1:
        parser.add_argument("--only", default=",".join(measures), help="which, of %(default)s")
    arguments = parser.parse_args()
    chosen = getattr(arguments, "only", ",".join(measures)).split(",")
    if unknown := [name for name in chosen if name not in measures]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(measures)}")
    figures: list[Figure] = []
    for name in chosen:
        print(f"{name}, load {os.getloadavg()[0]:.1f} …", file=sys.stderr, flush=True)
        try:
            figures += measures[name](Options(arguments.scale, arguments.rounds))
        except Unavailable as error:
            print(f"{name} is skipped: {error}", file=sys.stderr, flush=True)
    print(as_table(figures))
    print(f"median of {arguments.rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
    missed = [figure.what for figure in figures if not figure.is_met]
    if arguments.strict and missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


class Unavailable(Exception):
    """A benchmark needs what is not installed here."""


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"
