"""What the commands write to standard output and standard error."""

from __future__ import annotations

import io
import os
import sys

import click

from ap4r.cli.terminal import escaped, json_text


def write_to_any_terminal() -> None:
    """Write characters that the output's encoding lacks as escapes: queue names and answers hold any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str = "", *, nl: bool = True) -> None:
    """Write a text to standard output; what cannot be seen is written as an escape."""
    write(escaped(text), nl=nl)


def say_error(text: str) -> None:
    """Write a text to standard error, behind everything that was written to standard output."""
    flush()
    click.echo(escaped(text), file=sys.stderr)


def say_json(value: object) -> None:
    """Write a value to standard output as JSON."""
    write(json_text(value, in_ascii=not has_unicode()))


def write(text: str, *, nl: bool = True) -> None:
    """Write a text to standard output as it is."""
    # Without `file` click would write UTF-8 where the output's encoding is ASCII.
    click.echo(text, file=sys.stdout, nl=nl)


def has_unicode() -> bool:
    """Return whether standard output can show any character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")


def flush() -> None:
    """Write what is buffered, so that errors are raised now. A process may have no standard output."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Drop what could not be written: the interpreter would try to write it once more when it ends."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it ends with the process
