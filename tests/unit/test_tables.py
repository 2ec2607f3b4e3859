"""Tables of the command `ap4r` are aligned, plain where there is no terminal, and safe on one."""

from __future__ import annotations

from ap4r.cli.tables import Column, table

COLUMNS = [Column("QUEUE", is_text=True), Column("READY")]


def test_columns_are_aligned_without_blanks_at_the_end(capsys):
    """Texts stand on the left, numbers on the right, with two blanks between columns."""
    assert table([*COLUMNS, Column("AGE")], [("queue.a", "12", "1.0 s"), ("b", "1,500", "")]) == (
        "QUEUE    READY    AGE\nqueue.a     12  1.0 s\nb        1,500"
    )


def test_wide_characters_take_two_columns(capsys):
    """A name of wide characters does not push the columns beside it out of line."""
    assert table(COLUMNS, [("\u4e2d\u6587", "1"), ("abcdef", "2")]) == (
        "QUEUE   READY\n\u4e2d\u6587        1\nabcdef      2"
    )


def test_nothing_in_a_cell_is_read_as_markup(capsys):
    """Square brackets and colons of a name are printed as they are."""
    assert table(COLUMNS, [("[red]:smile:[/red]", "1")]).splitlines()[1] == "[red]:smile:[/red]      1"


def test_nothing_in_a_cell_steers_the_terminal(capsys):
    """Control characters, ends of lines and a change of direction are written as escapes, in one line."""
    assert table(COLUMNS, [("a\x1b[31m\r\n\u202eb", "1")]).splitlines()[1:] == [r"a\x1b[31m\x0d\n\u202eb      1"]


def test_a_row_is_one_line_where_there_is_no_terminal(capsys):
    """A text of any length stands in one line."""
    assert len(table(COLUMNS, [("q" * 5_000, "1")]).splitlines()) == 2
