"""Tables for a person: plain text in columns, in colours and folded to the width on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ap4r.cli.terminal import escaped

#: A column of texts is folded on a terminal, but not to less than this.
_LEAST_TEXT_WIDTH = 12
_BETWEEN = 2  #: blanks between two columns


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: texts stand on the left and may be folded, numbers on the right."""

    title: str
    is_text: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text for standard output, without the last end of line.

    What cannot be seen is written as an escape. Where the output is no terminal, each row is one line.
    """
    shown = [[_shown(cell) for cell in row] for row in rows]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.is_text else "right"
        grid.add_column(column.title, justify=justify, no_wrap=not column.is_text, overflow="fold")
    for row in shown:
        # A Text, because rich reads markup in a str.
        grid.add_row(*(Text(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    width = _width(columns, shown)
    if sys.stdout is not None and sys.stdout.isatty():
        foldable = sum(
            max(0, _column_width(columns, shown, number) - _LEAST_TEXT_WIDTH)
            for number, column in enumerate(columns)
            if column.is_text
        )
        width = max(min(width, console.width), width - foldable)
    # It prints nothing that is wider than itself.
    console.width = width
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    widths = [_column_width(columns, rows, number) for number in range(len(columns))]
    return sum(widths) + _BETWEEN * (len(widths) - 1)


def _column_width(columns: Sequence[Column], rows: Sequence[Sequence[str]], number: int) -> int:
    return max(cell_len(text) for text in (columns[number].title, *(row[number] for row in rows)))


def _shown(cell: str) -> str:
    """Return a cell as the output can show it, so that it is as wide as it seems."""
    text = escaped(cell).replace("\n", "\\n")
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)
