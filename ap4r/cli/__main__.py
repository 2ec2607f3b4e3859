"""The command `ap4r`: make a secret, look at a store, put dead letters back, move its tables.

Each command prints for people, or with --json one JSON value for machines. Exit codes: 0 well, 1 something needs a
person, 2 the command was used wrongly or the store cannot be read.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TextIO

from ap4r import __version__
from ap4r.cli.arguments import OF_ALL, make_parser
from ap4r.cli.dead_letters import letter_json, letter_lines
from ap4r.cli.status import status_lines
from ap4r.cli.terminal import escaped, json_text
from ap4r.control.diagnosis import bell_notes, chain_findings, findings, is_stuck
from ap4r.control.initialise import initialise, make_secret, what_was_done
from ap4r.control.trust_check import look, queues_that_feed_themselves, trust_findings, trust_notes
from ap4r.doorbell.address import hears
from ap4r.errors import Ap4rError, OwnerLost, StoreUnavailable, StoreUnusable
from ap4r.redaction import without_credentials
from ap4r.settings.environment import config_path
from ap4r.settings.settings import load_settings
from ap4r.storage.open import open_store, open_stores
from ap4r.storage.schema.version import check_version
from ap4r.storage.sql_store import SqlStore

_PAGE = 500
#: Of a write to standard output: the disk is full, or the file or terminal is gone.
_OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    _write_to_any_terminal()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe, as `| head` does.
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        _say(f"ap4r: the output cannot be written: {error.strerror}", file=sys.stderr)
        # The interpreter would try it once more when it ends.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it ends with the process
        return 2
    return code


def _run(arguments: Sequence[str] | None) -> int:
    parsed = make_parser(f"ap4r {__version__}").parse_args(arguments)
    try:
        if parsed.command == "init":
            return _init(parsed)
        command = _COMMANDS[parsed.command]
        # Read-only commands never create a store.
        create = None if command is _migrate else False
        if parsed.store and len(parsed.store) > 1 and parsed.command not in OF_ALL:
            _say("ap4r: --store is given more than once; this command is of one store", file=sys.stderr)
            return 2
        named = {"store": parsed.store[0], "stores": tuple(parsed.store)} if parsed.store else {}
        settings = load_settings(parsed.config, **named, create_tables=create)
        parsed.table_prefix = settings.table_prefix
        if parsed.command in OF_ALL:
            return _each(command, open_stores(settings), parsed)
        if len(settings.stores) > 1:
            _say(f"ap4r: this is of {without_credentials(settings.store)}; others with --store", file=sys.stderr)
        store = open_store(settings.store, settings)
        try:
            return command(store, parsed)
        finally:
            store.close()
    except Ap4rError as error:
        _say(f"ap4r: {error}", file=sys.stderr)
        return 2


def _write_to_any_terminal() -> None:
    """Have characters that the output's encoding lacks written as escapes: queue names and answers hold any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _each(
    command: Callable[[SqlStore, argparse.Namespace], int], stores: list[SqlStore], parsed: argparse.Namespace
) -> int:
    """Run a command on every store, one that cannot be read not keeping the others back; the worst exit code."""
    if len(stores) > 1 and parsed.json:
        parsed.told = []
    worst = 0
    for number, store in enumerate(stores):
        if number and not parsed.json:
            _say()
        try:
            worst = max(worst, command(store, parsed))
        except Ap4rError as error:
            worst = 2
            _say(f"ap4r: {error}", file=sys.stderr)
            if parsed.told is not None:
                parsed.told.append({"store": store.name, "error": str(error)})
        finally:
            store.close()
    if parsed.told is not None:
        _print_json(parsed.told)
    return worst


def _init(arguments: argparse.Namespace) -> int:
    done = initialise(config_path(arguments.config, os.environ), make_secret())
    if arguments.json:
        _print_json(asdict(done))
    else:
        _say("\n".join(what_was_done(done, os.environ)))
    return 0


def _status(store: SqlStore, arguments: argparse.Namespace) -> int:
    status = store.status()
    stuck = is_stuck(status)
    if arguments.json:
        _tell(arguments, {"store": store.name, "stuck": stuck, **asdict(status)})
        return 1 if stuck else 0
    _say("\n".join(status_lines(store.name, status)))
    if stuck:
        seconds = f"{status.oldest_due_seconds:.0f}"
        sys.stdout.flush()
        _say(
            f"\nMessages have been due for {seconds} s and no dispatcher of this store is alive: {store.name}",
            file=sys.stderr,
        )
    return 1 if stuck else 0


def _dead(store: SqlStore, arguments: argparse.Namespace) -> int:
    found = store.dead(limit=arguments.limit + 1, after=arguments.after, queue=arguments.queue)
    letters = found[: arguments.limit]
    if arguments.json:
        _print_json([letter_json(letter) for letter in letters])
    else:
        _say("\n".join(line for letter in letters for line in letter_lines(letter)) or "no dead letters")
    if len(found) > len(letters):
        # A list in JSON has no place for it.
        hint = f"… there are more; go on with --after {letters[-1].message.id}"
        _say(hint, file=sys.stderr if arguments.json else sys.stdout)
    return 0


def _replay(store: SqlStore, arguments: argparse.Namespace) -> int:
    if bool(arguments.ids) == arguments.all or (arguments.queue and not arguments.all):
        _say("ap4r: replay takes either ids or --all; --queue goes with --all", file=sys.stderr)
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
        if arguments.all and not arguments.json and result.replayed and len(replayed) >= _PAGE:
            _say(f"… {len(replayed):,} so far", file=sys.stderr)
    if arguments.json:
        _print_json({"replayed": replayed, "refused": refused, "missing": missing})
    else:
        _say(f"{len(replayed)} put back")
        for message_id in refused:
            _say(f"{message_id}: `once`, and it was called; a second call needs --again", file=sys.stderr)
        if not arguments.all:
            for message_id in missing:
                _say(f"{message_id}: not a dead letter of this store", file=sys.stderr)
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
            _say(sql, end="")
        return 0
    before = store.version()
    if arguments.check:
        try:
            check_version(before, store.name, arguments.table_prefix)
        except Ap4rError as error:
            _say(f"ap4r: {error}", file=sys.stderr)
            return 1
        outcome = {"before": before, "after": before}
    else:
        store.migrate()
        outcome = {"before": before, "after": store.version()}
    if arguments.json:
        _print_json({"store": store.name, **outcome})
    elif outcome["before"] == outcome["after"]:
        _say(f"store {store.name}: its tables are of version {outcome['after']}; nothing to do")
    else:
        _say(f"store {store.name}: tables moved from {before or 'nothing'} to version {outcome['after']}")
    return 0


def _doctor(store: SqlStore, arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.config)
    trust = look(settings)
    bells, heard = _bells(store)
    found = _writing_findings(store) + findings(store.status(), bells, heard) + trust_findings(trust)
    found += chain_findings(queues_that_feed_themselves(settings, store.name), store.dead(limit=_PAGE))
    notes = [*bell_notes(bells, heard, socket.gethostname()), *trust_notes(trust)]
    if arguments.json:
        _tell(arguments, {"store": store.name, "findings": found, "signed": trust.signed, "notes": notes})
    else:
        _say(f"store {store.name}")
        _say("\n".join(f"- {finding}" for finding in found) or "nothing found: messages are delivered at once")
        _say("\n".join(notes))
    return 1 if found else 0


def _writing_findings(store: SqlStore) -> list[str]:
    # A beat of nobody changes nothing, and is refused as any other write where the store can only be read.
    try:
        store.beat("")
    except OwnerLost:
        pass
    except (StoreUnavailable, StoreUnusable) as error:
        return [f"nothing can be written to it, so no message is taken and none delivered: {error.problem}"]
    return []


def _bells(store: SqlStore) -> tuple[list[str], list[str]]:
    bells = store.bells()
    return bells, [bell for bell in bells if hears(bell)]


def _tell(arguments: argparse.Namespace, value: object) -> None:
    if arguments.told is None:
        _print_json(value)
    else:
        arguments.told.append(value)


def _print_json(value: object) -> None:
    has_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json_text(value, in_ascii=not has_unicode))


def _say(text: str = "", *, file: TextIO | None = None, end: str = "\n") -> None:
    print(escaped(text), file=file, end=end)


_COMMANDS: dict[str, Callable[[SqlStore, argparse.Namespace], int]] = {
    "status": _status,
    "dead": _dead,
    "replay": _replay,
    "migrate": _migrate,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())
