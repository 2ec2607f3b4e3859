"""The command `ap4r`: create a secret, look at a store, put dead letters back, move its tables.

Each command prints for people, or with --json one JSON value for machines. Exit codes: 0 well, 1 something needs a
person, 2 the command was used wrongly or the store cannot be read.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from ap4r.cli.output import drop_output, flush, say_error, write_to_any_terminal
from ap4r.errors import Ap4rError
from ap4r.version import __version__

#: Each command's module and function, and what `ap4r --help` says of it.
_COMMANDS = {
    "init": ("ap4r.cli.init", "init", "Create a secret, so that deliveries are signed."),
    "status": ("ap4r.cli.status", "status", "Show what waits, what is dead, and which dispatchers deliver."),
    "dead": ("ap4r.cli.dead_letters", "dead", "List the messages that were given up, and why."),
    "replay": ("ap4r.cli.replay", "replay", "Put dead letters back, to be called again at once."),
    "migrate": ("ap4r.cli.migrate", "migrate", "Bring the store's tables to this version of ap4r."),
    "settings": ("ap4r.cli.settings", "settings", "List every setting with its value and source."),
    "doctor": ("ap4r.cli.doctor", "doctor", "Find what keeps messages from being delivered soon."),
}
#: Of a write to standard output: the disk is full, or the file or terminal is gone.
_OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
#: What a shell has as the exit code of a program that Ctrl-C ended.
_INTERRUPTED = 130


class CommandGroup(click.Group):
    """The commands of `ap4r`. A command's module, and with it the database library, is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import a command.

        :raises click.UsageError: there is no such command.
        """
        if cmd_name not in _COMMANDS:
            raise click.UsageError(f"there is no command {cmd_name}; there are {', '.join(_COMMANDS)}", ctx)
        module, function, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into the text of --help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, _, says) in _COMMANDS.items()])


@click.group(cls=CommandGroup, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="ap4r %(version)s")
def command_line() -> None:
    """Look at a store of ap4r and mend it. The dispatcher itself is `twistd -n ap4r`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    write_to_any_terminal()
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        flush()
    except BrokenPipeError:
        # The reader closed the pipe, as `| head` does.
        drop_output()
        return 0
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        drop_output()
        say_error(f"ap4r: the output cannot be written: {error.strerror}")
        return 2
    return code


def _run(arguments: Sequence[str]) -> int:
    # Not click's own main(), which ends with exit code 1 when the reader has closed the pipe.
    try:
        with command_line.make_context("ap4r", list(arguments)) as context:
            code: int = command_line.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        if error.ctx is not None:
            say_error(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n")
        say_error(f"ap4r: {error.format_message()}")
        return 2
    except Ap4rError as error:
        say_error(f"ap4r: {error}")
        return 2
    except KeyboardInterrupt:
        say_error("\nap4r: interrupted")
        return _INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
