"""The figures as a table: of columns for a terminal, or of Markdown for the docs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.measure import Figures

HEADINGS = (
    "peer", "deliveries/s", "CPU-s per 1,000", "of the store", "enqueue/s", "latency ms (max)", "RSS MB", "PSS MB",
    "run again after kill -9?",
)  # fmt: skip


def rows(found: Sequence[Figures]) -> list[tuple[str, ...]]:
    """Give a row of texts for each peer that was measured."""
    return [_row(figures) for figures in found if not figures.skipped]


def as_columns(found: Sequence[Figures]) -> str:
    """Give the table for a terminal."""
    lines = [HEADINGS, *rows(found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, len(HEADINGS) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(found: Sequence[Figures]) -> str:
    """Give the table for a document."""
    rule = ("---", *["---:"] * (len(HEADINGS) - 2), "---")
    return "\n".join(f"| {' | '.join(line)} |" for line in (HEADINGS, rule, *rows(found)))


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
