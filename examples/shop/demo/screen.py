"""What the terminal shows: lines that scroll, and below them the figures, updated in place.

Where the output is no terminal only the lines are printed, and the figures once at the end.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

COLOURS = {"grey": "90", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1"}


class Screen:
    """Draws to a stream; `live` is whether it can draw in place."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self.live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._coloured = self.live and not os.environ.get("NO_COLOR")
        self._panel_height = 0
        self._panel: Sequence[str] = ()

    def paint(self, text: str, colour: str) -> str:
        """Colour a text, if this screen has colours."""
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self._coloured else text

    def draw(self, lines: Sequence[str], panel: Sequence[str]) -> None:
        """Print new lines, and draw the panel below them."""
        if not self.live:
            self.write(lines)
            return
        if not lines and panel == self._panel:
            return
        self._panel = panel
        width = shutil.get_terminal_size().columns
        # A line that wraps would take two rows, and the next drawing would then begin one row too low.
        shown = [_cut(line, width - 1) for line in panel]
        back = f"\x1b[{self._panel_height}A" if self._panel_height else ""
        self._stream.write(back + "\x1b[J" + "".join(f"{line}\n" for line in [*lines, *shown]))
        self._stream.flush()
        self._panel_height = len(shown)

    def write(self, lines: Sequence[str]) -> None:
        """Print lines that stay; a panel above them stays as it is."""
        if lines:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
            self._panel_height = 0
            self._panel = ()


def _cut(line: str, width: int) -> str:
    shown, inside, count = "", False, 0
    for sign in line:
        if sign == "\x1b":
            inside = True
        elif not inside:
            count += 1
        if count > width:
            return shown + "\x1b[0m"
        shown += sign
        if inside and sign == "m":
            inside = False
    return shown
