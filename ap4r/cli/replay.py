"""`ap4r replay`: put dead letters back."""

from __future__ import annotations

from dataclasses import asdict

import click

from ap4r.cli.arguments import config_and_json_options, message_id, queue_name, store_option
from ap4r.cli.output import say, say_error, say_json
from ap4r.cli.stores import opened_store
from ap4r.control import dead_letters


@click.command()
@click.argument("ids", nargs=-1, type=message_id, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--queue", type=queue_name, metavar="QUEUE", help="With --all: only those of this queue.")
@click.option("--again", is_flag=True, help="Also `once` messages that were called, which may then take effect twice.")
@store_option
@config_and_json_options
def replay(
    ids: tuple[str, ...],
    every: bool,
    queue: str | None,
    again: bool,
    store: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Put dead letters back, to be called again at once: those with the given ids, or all."""
    if bool(ids) == every or (queue is not None and not every):
        raise click.UsageError("replay takes either ids or --all; --queue goes with --all")
    with opened_store(store, config) as opened:
        if every:
            result = dead_letters.replay_all(
                opened.store, queue=queue, again=again, progress=None if as_json else _show_progress
            )
        else:
            result = dead_letters.replay(opened.store, ids, again=again)
    if as_json:
        say_json(asdict(result))
    else:
        say(f"{len(result.replayed)} put back")
        for message_id in result.refused:
            say_error(f"{message_id}: `once`, and it was called; a second call needs --again")
        for message_id in () if every else result.missing:
            say_error(f"{message_id}: not a dead letter of this store")
    return 1 if result.refused or (result.missing and not every) else 0


def _show_progress(replayed: int) -> None:
    if replayed >= dead_letters.PAGE:
        say_error(f"… {replayed:,} so far")
