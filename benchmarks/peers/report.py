"""The figures as a table: of columns for a terminal, or of Markdown for the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers.measure import Figures
from benchmarks.peers.peer import OURS

HEADINGS = (
    "peer", "deliveries/s", "CPU-s per 1,000", "of the store", "enqueue/s", "latency ms (max)", "RSS MB", "PSS MB",
    "run again after kill -9?",
)  # fmt: skip
HEADINGS_BY_WORK = (
    "work", "peer", "deliveries/s", "of the best peer's", "CPU-s per 1,000", "of the store", "RSS MB",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Rows of texts below headings, of which these are words and the others numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str]

    def as_columns(self) -> str:
        """Format it for a terminal."""
        lines = [self.headings, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if heading in self.words else cell.rjust(width)
                for cell, width, heading in zip(line, widths, self.headings, strict=True)
            ).rstrip()
            for line in lines
        )

    def as_markdown(self) -> str:
        """Format it for a document."""
        rule = ["---" if heading in self.words else "---:" for heading in self.headings]
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.headings, rule, *self.rows))


def by_peer(found: Sequence[Figures]) -> Table:
    """Report all results of the usual work."""
    rows = [_row(figures) for figures in found if not figures.skipped]
    return Table(HEADINGS, rows, (HEADINGS[0], HEADINGS[-1]))


def by_work(found: Mapping[str, Mapping[str, Figures]]) -> Table:
    """Report the results of each kind of work by peer; the deliveries also as a part of the best peer's."""
    rows = []
    for work, peers in found.items():
        best = best_of(peers)
        for figures in peers.values():
            rate = figures.middle("deliveries")
            if rate is not None:
                part = format(rate / best, ".2f") if best else "-"
                cpu, store_cpu = _text(figures.middle("cpu"), ".2f"), _text(figures.middle("store_cpu"), ".2f")
                rss = _text(figures.middle("rss"), ".0f")
                rows.append((work, figures.name, f"{rate:,.0f}", part, cpu, store_cpu, rss))
    return Table(HEADINGS_BY_WORK, rows, HEADINGS_BY_WORK[:2])


def best_of(peers: Mapping[str, Figures]) -> float:
    """Return the most deliveries a second of those that are not ours; 0 when there are none."""
    return max(
        (figures.middle("deliveries") or 0.0 for module, figures in peers.items() if module not in OURS), default=0.0
    )


def _row(figures: Figures) -> tuple[str, ...]:
    latency = figures.middle("latency")
    return (
        figures.name,
        _text(figures.middle("deliveries"), ",.0f"),
        _text(figures.middle("cpu"), ".2f"),
        _text(figures.middle("store_cpu"), ".2f"),
        _text(figures.middle("enqueued"), ",.0f"),
        "-" if latency is None else f"{latency:.1f} ({max(figures.latency):.0f})",
        _text(figures.middle("rss"), ".0f"),
        _text(figures.middle("pss"), ".0f"),
        _again(figures),
    )


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _again(figures: Figures) -> str:
    if figures.waited_seconds is None:
        return "-"
    if figures.again_seconds is not None:
        return f"yes, after {figures.again_seconds:.0f} s"
    return f"not within {figures.waited_seconds:.0f} s"
