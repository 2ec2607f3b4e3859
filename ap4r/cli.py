"""The command `ap4r`: look at a store, put dead letters back, move its tables.

Each command prints for people, or with --json one JSON value for machines. Exit codes: 0 well, 1 something needs a
person, 2 the command was used wrongly or the store cannot be read.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ap4r import __version__
from ap4r.control.diagnosis import STUCK_SECONDS, findings, is_stuck
from ap4r.errors import Ap4rError
from ap4r.settings import load_settings
from ap4r.storage.open import open_store
from ap4r.storage.sql.store import SqlStore
from ap4r.storage.store import COUNT_LIMIT, DeadLetter, QueueStatus
from ap4r.storage.versions import check_version

_PAGE = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parsed = _parser().parse_args(arguments)
    command: Callable[[SqlStore, argparse.Namespace], int] = parsed.command
    try:
        # Whoever only looks must not make a store by a slip of the pen.
        create = None if command is _migrate else False
        settings = load_settings(parsed.config, store=parsed.store, create_tables=create)
        store = open_store(settings.store, settings)
        try:
            return command(store, parsed)
        finally:
            store.close()
    except Ap4rError as error:
        print(f"ap4r: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has had enough of it, as `| head` has.
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ap4r", description="Look at a store of ap4r and mend it. The dispatcher itself is `twistd -n ap4r`."
    )
    parser.add_argument("--version", action="version", version=f"ap4r {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    status = _command(commands, "status", _status, "what waits, what is dead, and who delivers")
    status.epilog = f"Exits 1 when messages have been due for {STUCK_SECONDS:.0f} s and no dispatcher is alive."

    dead = _command(commands, "dead", _dead, "the messages that were given up, and why")
    dead.add_argument("--queue", help="only those of this queue")
    dead.add_argument("--limit", type=_positive, default=100, help="how many at the most (%(default)s)")
    dead.add_argument("--after", type=_message_id, metavar="ID", help="go on behind this message")

    replay = _command(commands, "replay", _replay, "put dead letters back, to be called again at once")
    replay.add_argument("ids", nargs="*", type=_message_id, metavar="ID", help="the messages")
    replay.add_argument("--all", action="store_true", help="all of them")
    replay.add_argument("--queue", help="with --all: only those of this queue")
    replay.add_argument(
        "--again", action="store_true", help="also `once` messages that were called, which may then take effect twice"
    )

    migrate = _command(commands, "migrate", _migrate, "bring the store's tables to this version of ap4r")
    either = migrate.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true", help="change nothing; exit 1 when there is something to do")
    either.add_argument("--sql", action="store_true", help="change nothing; print the SQL that would be run")

    doctor = _command(commands, "doctor", _doctor, "look for what keeps messages from being delivered soon")
    doctor.epilog = "Exits 1 when it finds something."
    return parser


def _command(
    commands: Any, name: str, run: Callable[[SqlStore, argparse.Namespace], int], says: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
    parser.add_argument("--store", metavar="URL", help="the store (AP4R_STORE, ap4r.toml, else sqlite:///ap4r.db)")
    parser.add_argument("--config", metavar="FILE", help="the settings (AP4R_CONFIG, else ap4r.toml)")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.set_defaults(command=run)
    return parser


def _status(store: SqlStore, arguments: argparse.Namespace) -> int:
    status = store.status()
    stuck = is_stuck(status)
    if arguments.json:
        _print_json({"store": store.name, "stuck": stuck, **asdict(status)})
        return 1 if stuck else 0
    print(f"store {store.name}")
    rows: list[tuple[str, ...]] = [("QUEUE", "READY", "SCHEDULED", "IN FLIGHT", "DEAD", "OLDEST DUE")]
    rows += [_queue_row(queue) for queue in status.queues]
    _print_table(rows if status.queues else [("no messages",)])
    print()
    rows = [("DISPATCHER", "", "IN FLIGHT", "LAST SEEN")]
    for one in status.dispatchers:
        state = "alive" if one.alive else "silent"
        rows.append((one.name, state, str(one.leased), f"{one.seen_seconds:.0f} s ago"))
    _print_table(rows if status.dispatchers else [("no dispatcher; start one with: twistd -n ap4r",)])
    if stuck:
        seconds = f"{status.oldest_due_seconds:.0f}"
        print(f"\nMessages have been due for {seconds} s and no dispatcher of this store is alive.", file=sys.stderr)
    return 1 if stuck else 0


def _dead(store: SqlStore, arguments: argparse.Namespace) -> int:
    letters = store.dead(limit=arguments.limit, after=arguments.after, queue=arguments.queue)
    if arguments.json:
        _print_json([_letter_json(letter) for letter in letters])
        return 0
    for letter in letters:
        status = "" if letter.status is None else f" {letter.status}"
        died_at = datetime.datetime.fromtimestamp(letter.died_at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        print(f"{letter.message.id}  {letter.message.queue}  {letter.message.method} {letter.message.target}")
        print(f"    {letter.reason}{status} at {died_at}, after {letter.attempt} attempt(s)")
        if letter.detail.strip():
            print(f"    {_printable(' '.join(letter.detail.split())[:160])}")
    if not letters:
        print("no dead letters")
    elif len(letters) == arguments.limit:
        print(f"… there may be more: ap4r dead --after {letters[-1].message.id}")
    return 0


def _replay(store: SqlStore, arguments: argparse.Namespace) -> int:
    if bool(arguments.ids) == arguments.all or (arguments.queue and not arguments.all):
        print("ap4r: replay takes either ids or --all; --queue goes with --all", file=sys.stderr)
        return 2
    pages: Iterator[list[str]] = _dead_ids(store, arguments.queue) if arguments.all else iter([arguments.ids])
    replayed: list[str] = []
    refused: list[str] = []
    missing: list[str] = []
    for ids in pages:
        result = store.replay(ids, again=arguments.again)
        replayed += result.replayed
        refused += result.refused
        missing += result.missing
        if arguments.all and not arguments.json and len(replayed) >= _PAGE:
            print(f"… {len(replayed):,} so far", file=sys.stderr)
    if arguments.json:
        _print_json({"replayed": replayed, "refused": refused, "missing": missing})
    else:
        print(f"{len(replayed)} put back")
        for message_id in refused:
            print(f"{message_id}: `once`, and it was called; a second call needs --again", file=sys.stderr)
        if not arguments.all:
            for message_id in missing:
                print(f"{message_id}: not a dead letter of this store", file=sys.stderr)
    return 1 if refused or (missing and not arguments.all) else 0


def _dead_ids(store: SqlStore, queue: str | None) -> Iterator[list[str]]:
    # What dies again while we put back is behind the page that we read, so the walk ends.
    after = None
    while letters := store.dead(limit=_PAGE, after=after, queue=queue):
        ids = [letter.message.id for letter in letters]
        after = ids[-1]
        yield ids


def _migrate(store: SqlStore, arguments: argparse.Namespace) -> int:
    if arguments.sql:
        sql = store.script()
        if arguments.json:
            _print_json({"store": store.name, "sql": sql})
        else:
            print(sql, end="")
        return 0
    before = store.version()
    if arguments.check:
        try:
            check_version(before, store.name)
        except Ap4rError as error:
            print(f"ap4r: {error}", file=sys.stderr)
            return 1
        outcome = {"before": before, "after": before}
    else:
        store.migrate()
        outcome = {"before": before, "after": store.version()}
    if arguments.json:
        _print_json({"store": store.name, **outcome})
    elif outcome["before"] == outcome["after"]:
        print(f"store {store.name}: its tables are of version {outcome['after']}; nothing to do")
    else:
        print(f"store {store.name}: tables moved from {before or 'nothing'} to version {outcome['after']}")
    return 0


def _doctor(store: SqlStore, arguments: argparse.Namespace) -> int:
    found = findings(store.status(), store.bells())
    if arguments.json:
        _print_json({"store": store.name, "findings": found})
    else:
        print(f"store {store.name}")
        print("\n".join(f"- {finding}" for finding in found) or "nothing found: messages are delivered at once")
    return 1 if found else 0


def _letter_json(letter: DeadLetter) -> dict[str, Any]:
    message = letter.message
    values = asdict(letter)
    values["message"] = {
        "id": message.id,
        "queue": message.queue,
        "method": message.method,
        "target": str(message.target),
        "delivery": message.delivery,
        "body_bytes": len(message.body),
    }
    return values


def _queue_row(queue: QueueStatus) -> tuple[str, ...]:
    def shown(count: int) -> str:
        return f"{count:,}+" if count >= COUNT_LIMIT else f"{count:,}"

    counts = (queue.ready, queue.scheduled, queue.leased, queue.dead)
    age = f"{queue.oldest_due_seconds:.1f} s" if queue.ready else ""
    return (queue.queue, *(shown(count) for count in counts), age)


def _printable(text: str) -> str:
    # What a target answered must not steer the terminal of whoever reads it.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return int(text)


def _message_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a message's id") from error


if __name__ == "__main__":
    sys.exit(main())
