"""Measures the kinds of work beside the usual one (works.py), each with every peer, and prints one table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers import measure
from benchmarks.peers.bursts import bursts
from benchmarks.peers.measure import Figures
from benchmarks.peers.peer import OURS
from benchmarks.peers.report import best_of, by_work
from benchmarks.peers.stores import Missing, Stores
from benchmarks.peers.works import BURST, WORKS, Target, Work, open_target
from benchmarks.slow import most_in_flight

Found = dict[str, dict[str, Figures]]  #: by work and module


def run(folder: Path, works: list[str], arguments: argparse.Namespace) -> int:
    """Measure, print and write; exit 1 when nothing could be measured."""
    modules = arguments.peers.split(",")
    found: Found = {name: {module: Figures(module) for module in modules} for name in works}
    with Stores(folder, arguments.fsync) as stores:
        for number in range(arguments.rounds):
            for name, peers in found.items():
                for module, figures in peers.items():
                    if figures.skipped:
                        continue
                    _say(f"round {number + 1}, {name}: {module}, load {os.getloadavg()[0]:.1f}")
                    with open_target(WORKS[name], folder) as target:
                        _measure(WORKS[name], target, module, figures, stores, folder, arguments)
    _write(found, arguments)
    return 0 if any(figures.deliveries for peers in found.values() for figures in peers.values()) else 1


def _measure(
    work: Work, target: Target, module: str, figures: Figures, stores: Stores, folder: Path,
    arguments: argparse.Namespace,
) -> None:  # fmt: skip
    try:
        peer = measure.opened(module, stores, folder, figures, {**work.environ, **target.environ})
        if why := peer.cannot(work.name):
            raise Missing(why)
        messages = work.count(arguments.messages)
        if work.name == "bursts":
            size = min(BURST, arguments.messages)
            bursts(peer, target, figures, size, max(2, messages // size), arguments.seconds)
        else:
            measure.throughput(peer, target.sink, figures, messages, arguments.seconds, url=target.url)
        if work.in_flight:
            figures.in_flight = max(figures.in_flight, most_in_flight(target.sink))
        _say(f"{figures.name}: {figures.deliveries[-1]:,.0f}/s, {figures.cpu[-1]:.2f} CPU-s per 1,000")
    except Missing as error:
        figures.skipped = str(error)
        _say(f"{module} is skipped: {error}")


def _write(found: Found, arguments: argparse.Namespace) -> None:
    table = by_work(found)
    print(table.as_columns())
    for name, peers in found.items():
        best = best_of(peers)
        ours = [peers[module].middle("deliveries") or 0.0 for module in OURS if module in peers]
        if best and ours:
            print(f"{name}: ours is {max(ours) / best:.2f} of the best peer")
        if WORKS[name].in_flight:
            most = (f"{figures.name} {figures.in_flight:,}" for figures in peers.values() if figures.in_flight)
            print(f"{name}: of {WORKS[name].in_flight:,} in flight the target saw at most: {'; '.join(most)}")
    print(
        f"median of {arguments.rounds} rounds; Redis appendfsync {arguments.fsync};"
        f" {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    )
    for name, peers in found.items():
        for figures in peers.values():
            if figures.skipped:
                print(f"skipped: {name}: {figures.name}: {figures.skipped}")
    if arguments.json:
        rows = [{"work": name, **asdict(figures)} for name, peers in found.items() for figures in peers.values()]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(table.as_markdown() + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
