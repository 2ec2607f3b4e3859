"""The figures as a picture: who got which share, and what that did to the slowest of 100 calls. SVG, nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.balance.measure import SERVERS, Figures

_NAMES, _BAR, _GAP, _FIGURE, _ROW, _TOP = 150, 240, 24, 80, 28, 70
_STYLE = (
    "text{font:13px sans-serif;fill:#24292f}.h{font-weight:bold}.i{fill:#fff}"
    ".quick{fill:#1a7f37}.slow{fill:#bc4c00}.stopped{fill:#8c959f}.t{fill:#0969da}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.i{fill:#fff}}"
)


def draw(found: Sequence[Figures]) -> str:
    """Return the picture as SVG, a row for each policy."""
    width, height = _NAMES + 2 * _BAR + _GAP + _FIGURE, _TOP + _ROW * len(found) + 8
    right = _NAMES + _BAR + _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<text class="h" x="{_NAMES}" y="24">share of the calls</text>',
        f'<text class="h" x="{right}" y="24">from put to answer, 99 % (half)</text>',
    ]
    for number, server in enumerate(SERVERS):
        x = _NAMES + number * _BAR // len(SERVERS)
        lines.append(f'<rect class="{server}" x="{x}" y="40" width="11" height="11" rx="2"/>')
        lines.append(f'<text x="{x + 16}" y="50">{server}</text>')
    most = max(statistics.median(figures.p99) for figures in found)
    for number, figures in enumerate(found):
        y = _TOP + number * _ROW
        lines.append(f'<text x="{_NAMES - 10}" y="{y + 14}" text-anchor="end">{figures.policy}</text>')
        x = float(_NAMES)
        for server in SERVERS:
            long = figures.share(server) * _BAR
            lines.append(f'<rect class="{server}" x="{x:.1f}" y="{y}" width="{long:.1f}" height="19"/>')
            if figures.share(server) > 0.05:
                middle = x + long / 2
                told = f"{figures.share(server):.0%}"
                lines.append(f'<text class="i" x="{middle:.1f}" y="{y + 14}" text-anchor="middle">{told}</text>')
            x += long
        p50, p99 = statistics.median(figures.p50), statistics.median(figures.p99)
        long = max(1.0, p99 / most * (_BAR - _FIGURE))
        lines.append(f'<rect class="t" x="{right}" y="{y}" width="{long:.1f}" height="19" rx="2"/>')
        told = f"{p99 * 1000:,.0f} ms ({p50 * 1000:,.0f} ms)"
        lines.append(f'<text x="{right + long + 6:.1f}" y="{y + 14}">{told}</text>')
    return "\n".join([*lines, "</svg>", ""])
