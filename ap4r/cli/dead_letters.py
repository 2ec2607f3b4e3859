"""`ap4r dead`: the messages that were given up, and why."""

from __future__ import annotations

import datetime
from dataclasses import asdict

import click

from ap4r.cli.arguments import config_and_json_options, count, message_id, queue_name, store_option
from ap4r.cli.output import say, say_error, say_json
from ap4r.cli.stores import opened_store
from ap4r.cli.terminal import is_visible
from ap4r.control.dead_letters import DeadLetterSummary, list_dead_letters

_DETAIL_CHARACTERS = 160


@click.command()
@click.option("--queue", type=queue_name, metavar="QUEUE", help="Only those of this queue.")
@click.option("--limit", type=count, metavar="LIMIT", default=100, help="How many at most (100).")
@click.option("--after", type=message_id, metavar="ID", help="Go on behind this message.")
@store_option
@config_and_json_options
def dead(queue: str | None, limit: int, after: str | None, store: str | None, config: str | None, as_json: bool) -> int:
    """List the messages that were given up, and why."""
    with opened_store(store, config) as opened:
        page = list_dead_letters(opened.store, limit=limit, after=after, queue=queue)
    if as_json:
        say_json([asdict(letter) for letter in page.letters])
    else:
        say("\n".join(line for letter in page.letters for line in _lines(letter)) or "no dead letters")
    if page.next_after:
        hint = f"… there are more; go on with --after {page.next_after}"
        # A list in JSON has no place for it.
        (say_error if as_json else say)(hint)
    return 0


def _lines(letter: DeadLetterSummary) -> list[str]:
    """Return which message it is, why it was given up, and what its target answered."""
    status = "" if letter.status is None else f" {letter.status}"
    died_at = datetime.datetime.fromtimestamp(letter.died_at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    attempts = "1 attempt" if letter.attempt == 1 else f"{letter.attempt} attempts"
    lines = [
        f"{letter.message.id}  {letter.message.queue}  {letter.message.method} {letter.message.target}",
        f"    {letter.reason}{status} at {died_at}, after {attempts}",
    ]
    if letter.detail.strip():
        lines.append(f"    {_printable(' '.join(letter.detail.split())[:_DETAIL_CHARACTERS])}")
    return lines


def _printable(text: str) -> str:
    # What a target answered must not steer the terminal of its reader.
    return "".join(character if is_visible(character) else "\N{REPLACEMENT CHARACTER}" for character in text)
