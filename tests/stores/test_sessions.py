"""What a server, a database or the environment says of every session changes nothing of what is stored."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from ap4r.outcome import Delivered
from tests.support.databases import shared_server
from tests.support.factories import claim, dispatcher, message, put, retry, settle

POSTGRESQL = {
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "backslash_quote": "off",
    "default_transaction_isolation": "serializable",
    "quote_all_identifiers": "on",
}
MARIADB = {
    "sql_select_limit": "1",
    "sql_mode": "'STRICT_TRANS_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
    "tx_isolation": "'SERIALIZABLE'",
    "autocommit": "OFF",
    "time_zone": "'+05:45'",
}
ODD = "'\"\\%s%%:name$1 \U0001f600"
BODY = bytes(range(256)) + b"\\x00\\\\'\"%s"


def hold_the_way_of_messages(server, url, opened):
    """Put, fail, schedule and deliver messages with odd names and bytes; each comes as it was."""
    store = opened(url)
    one, late = message(ODD, body=BODY), message("plain", body=BODY, delay_seconds=0.2)
    put(store, one, late, now=None)
    owner = dispatcher(store, now=None)
    [lease] = claim(store, owner, now=None)
    assert (lease.message.id, lease.message.queue, lease.message.body) == (one.id, ODD, BODY)
    settle(store, (lease, retry(0.2)), now=None)
    leases = []
    give_up_at = time.monotonic() + 10
    while len(leases) < 2 and time.monotonic() < give_up_at:
        leases += claim(store, owner, now=None)
    assert sorted(lease.message.id for lease in leases) == sorted([one.id, late.id])
    assert {lease.message.body for lease in leases} == {BODY}
    settle(store, *((lease, Delivered()) for lease in leases), now=None)
    for table in ("messages", "ready", "scheduled", "leased", "dead", "attempts"):
        assert server.execute(f"SELECT count(*) FROM ap4r_{table}", "own") == [(0,)], table


@pytest.mark.parametrize("name", list(POSTGRESQL))
def test_a_setting_of_the_database(name, opened):
    """On PostgreSQL a database's own settings leave ids, names and bodies as they are."""
    server = shared_server("postgresql")
    url = server.make("own")
    server.execute(f"ALTER DATABASE own SET {name} = '{POSTGRESQL[name]}'")
    hold_the_way_of_messages(server, url, opened)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_environments_encoding(encoding, opened, monkeypatch):
    """PGCLIENTENCODING, which libpq reads, stops no name."""
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    server = shared_server("postgresql")
    hold_the_way_of_messages(server, server.make("own"), opened)


def test_a_setting_of_the_url(opened):
    """Nor do they when they stand in the store's URL."""
    server = shared_server("postgresql")
    url = server.make("own")
    hold_the_way_of_messages(
        server, f"{url}?options=-c%20standard_conforming_strings%3Doff&client_encoding=latin1", opened
    )


@pytest.mark.parametrize("name", list(MARIADB))
def test_a_setting_of_the_server(name, opened):
    """On MariaDB a server's own settings do so too."""
    server = shared_server("mariadb")
    url = server.make("own")
    [(before,)] = server.execute(f"SELECT @@GLOBAL.{name}")
    with ExitStack() as stack:
        stack.callback(server.execute, f"SET GLOBAL {name} = {before if isinstance(before, int) else repr(before)}")
        server.execute(f"SET GLOBAL {name} = {MARIADB[name]}")
        hold_the_way_of_messages(server, url, opened)
