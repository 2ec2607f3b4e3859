"""`ap4r migrate`: create a store's tables, or move them to this version of ap4r."""

from __future__ import annotations

from dataclasses import asdict

import click

from ap4r.cli.arguments import config_and_json_options, store_option
from ap4r.cli.output import say, say_error, say_json
from ap4r.cli.stores import opened_store
from ap4r.control.migrate import Migration, check_tables, migration_sql
from ap4r.control.migrate import migrate as move_tables
from ap4r.errors import Ap4rError


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 when there is something to do.")
@click.option("--sql", is_flag=True, help="Change nothing; print the SQL that would be run.")
@store_option
@config_and_json_options
def migrate(check: bool, sql: bool, store: str | None, config: str | None, as_json: bool) -> int:
    """Create the tables of a store, or move them to this version of ap4r."""
    if check and sql:
        raise click.UsageError("--check and --sql exclude each other")
    with opened_store(store, config, create_tables=None) as opened:
        if sql:
            script = migration_sql(opened.store)
            if as_json:
                say_json(asdict(script))
            else:
                say(script.sql, nl=False)
            return 0
        if check:
            try:
                done = check_tables(opened.store, opened.settings.table_prefix)
            except Ap4rError as error:
                say_error(f"ap4r: {error}")
                return 1
        else:
            done = move_tables(opened.store)
    if as_json:
        say_json(asdict(done))
    else:
        say(_sentence(done))
    return 0


def _sentence(done: Migration) -> str:
    if done.before == done.after:
        return f"store {done.store}: its tables are of version {done.after}; nothing to do"
    return f"store {done.store}: tables moved from {done.before or 'nothing'} to version {done.after}"
