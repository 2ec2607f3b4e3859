"""The figures as a picture: bars of deliveries a second and of CPU, in SVG, with nothing but text and rectangles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.peers.measure import Figures

_NAMES, _BAR, _FIGURE, _ROW, _TOP = 220, 230, 70, 24, 48
#: A bar is cut, and shown so, beyond so many times the middle one, where long is bad: else the others would be dots.
_CUT_AT = 5.0
_STYLE = (
    "text{font:13px sans-serif;fill:#24292f}.h{font-weight:bold}.o{fill:#1a7f37}.p{fill:#8c959f}.c{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.o{fill:#3fb950}.c{fill:#0d1117}}"
)


def draw(found: Sequence[Figures]) -> str:
    """Return the picture as SVG; the peers are ordered by their deliveries a second."""
    shown = sorted(
        (figures for figures in found if figures.deliveries), key=lambda figures: -(figures.middle("deliveries") or 0)
    )
    width, height = _NAMES + 2 * (_BAR + _FIGURE), _TOP + _ROW * len(shown) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<text class="h" x="{_NAMES}" y="28">durable deliveries a second</text>',
        f'<text class="h" x="{_NAMES + _BAR + _FIGURE}" y="28">CPU seconds per 1,000</text>',
    ]
    for number, figures in enumerate(shown):
        y = _TOP + number * _ROW
        lines.append(f'<text x="{_NAMES - 10}" y="{y + 13}" text-anchor="end">{escape(figures.name)}</text>')
        for place, name, form, cut_at in ((0, "deliveries", ",.0f", math.inf), (1, "cpu", ".2f", _CUT_AT)):
            values = [one.middle(name) or 0 for one in shown]
            most = min(max(values), cut_at * statistics.median(values)) or 1
            value = figures.middle(name) or 0
            x, long = _NAMES + place * (_BAR + _FIGURE), min(_BAR, max(1.0, value / most * _BAR))
            kind = "o" if figures.name.startswith("ap4r") else "p"
            lines.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{long:.1f}" height="17" rx="2"/>')
            if value > most:
                lines.append(f'<path class="c" d="M{x + _BAR - 16} {y + 19}l6 -21h5l-6 21z"/>')
            lines.append(f'<text x="{x + long + 6:.1f}" y="{y + 13}">{value:{form}}</text>')
    return "\n".join([*lines, "</svg>", ""])
