"""What the command `ap4r` understands: its commands, their options, and what --help says of them."""

from __future__ import annotations

import argparse
import uuid
from typing import Any

from ap4r.control.diagnosis import STUCK_SECONDS

#: The commands that tell of every store that is configured, where --store names none.
OF_ALL = frozenset({"status", "doctor"})
_MOST = 1_000_000


def make_parser(version: str) -> argparse.ArgumentParser:
    """Make what reads a command line: `command` is the command's name, the other names are those of its options.

    :param version: what --version prints.
    """
    parser = argparse.ArgumentParser(
        prog="ap4r", description="Look at a store of ap4r and mend it. The dispatcher itself is `twistd -n ap4r`."
    )
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="make a secret, so that deliveries are signed")
    init.description = "Write a fresh secret into ap4r.toml, which is made if there is none; nothing is overwritten."
    init.add_argument("--config", metavar="FILE", help="the settings (AP4R_CONFIG, else ap4r.toml)")
    init.add_argument("--json", action="store_true", help="print one JSON value")
    init.set_defaults(command="init")

    status = _command(commands, "status", "what waits, what is dead, and who delivers")
    status.epilog = f"Exits 1 when messages have been due for {STUCK_SECONDS:.0f} s and no dispatcher is alive."

    dead = _command(commands, "dead", "the messages that were given up, and why")
    dead.add_argument("--queue", help="only those of this queue")
    dead.add_argument("--limit", type=_positive, default=100, help="how many at the most (%(default)s)")
    dead.add_argument("--after", type=_message_id, metavar="ID", help="go on behind this message")

    replay = _command(commands, "replay", "put dead letters back, to be called again at once")
    replay.add_argument("ids", nargs="*", type=_message_id, metavar="ID", help="the messages")
    replay.add_argument("--all", action="store_true", help="all of them")
    replay.add_argument("--queue", help="with --all: only those of this queue")
    replay.add_argument(
        "--again", action="store_true", help="also `once` messages that were called, which may then take effect twice"
    )

    migrate = _command(commands, "migrate", "bring the store's tables to this version of ap4r")
    either = migrate.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true", help="change nothing; exit 1 when there is something to do")
    either.add_argument("--sql", action="store_true", help="change nothing; print the SQL that would be run")

    doctor = _command(commands, "doctor", "look for what keeps messages from being delivered soon")
    doctor.epilog = "Exits 1 when it finds something."
    return parser


def _command(commands: Any, name: str, says: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
    several = "; several with a --store each" if name in OF_ALL else ""
    says = f"the store (AP4R_STORE, ap4r.toml, else sqlite:///ap4r.db){several}"
    parser.add_argument("--store", metavar="URL", action="append", help=says)
    parser.add_argument("--config", metavar="FILE", help="the settings (AP4R_CONFIG, else ap4r.toml)")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.set_defaults(command=name, told=None)
    return parser


def _positive(text: str) -> int:
    # A longer text may be a number that Python refuses to read.
    if not text.isdecimal() or len(text) > len(str(_MOST)) or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a number from 1 to {_MOST:,}")
    return int(text)


def _message_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a message's id") from error
