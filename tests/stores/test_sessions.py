"""What a server, a database or the environment says of every session changes nothing of what is stored."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from ap4r.errors import StoreUnusable
from ap4r.outcome.outcome import Delivered
from tests.support.databases import shared_server, without_tls
from tests.support.factories import claim, dispatcher, message, put, retry, settle
from tests.support.probe import wait_until

POSTGRESQL = {
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "backslash_quote": "off",
    "default_transaction_isolation": "serializable",
    "quote_all_identifiers": "on",
    "default_transaction_read_only": "on",
    "lock_timeout": "1",
    "array_nulls": "off",
    "extra_float_digits": "-15",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "idle_in_transaction_session_timeout": "1",
    "xmlbinary": "hex",
    "transform_null_equals": "on",
    "row_security": "off",
}
MARIADB = {
    "sql_select_limit": "1",
    "sql_mode": "'STRICT_TRANS_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
    "tx_isolation": "'SERIALIZABLE'",
    "autocommit": "OFF",
    "time_zone": "'+05:45'",
    "sql_safe_updates": "1",
    "sql_big_selects": "0",
    "max_join_size": "1",
    "completion_type": "'RELEASE'",
    "tx_read_only": "1",
    "max_statement_time": "0.00001",
    "lock_wait_timeout": "0",
    "sort_buffer_size": "1024",
    "max_session_mem_used": "65536",
    "alter_algorithm": "'INSTANT'",
    "default_storage_engine": "'MyISAM'",
    "idle_transaction_timeout": "1",
    "character_set_server": "'latin1'",
    "unique_checks": "0",
}
#: Modes in which statements are read otherwise, or values are kept otherwise.
MODES = (
    "",
    "ORACLE",
    "MSSQL",
    "ANSI,NO_BACKSLASH_ESCAPES",
    "STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL",
    "TRADITIONAL,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,SIMULTANEOUS_ASSIGNMENT",
)
ODD = "'\"\\%s%%:name$1 \U0001f600"
BODY = bytes(range(256)) + b"\\x00\\\\'\"%s"


def hold_the_way_of_messages(url, opened):
    """Put, fail, schedule and deliver messages with odd names and bytes; each comes as it was."""
    store = opened(url)
    one, late = message(ODD, body=BODY), message("plain", body=BODY, delay_seconds=0.2)
    put(store, one, now=None)
    owner = dispatcher(store, now=None)
    [lease] = claim(store, owner, now=None)
    # After the claim: on a slow machine it would be due before it, and the claim would bring both.
    put(store, late, now=None)
    assert (lease.message.id, lease.message.queue, lease.message.body) == (one.id, ODD, BODY)
    settle(store, (lease, retry(0.2)), now=None)
    leases = []
    give_up_at = time.monotonic() + 10
    while len(leases) < 2 and time.monotonic() < give_up_at:
        leases += claim(store, owner, now=None)
    assert sorted(lease.message.id for lease in leases) == sorted([one.id, late.id])
    assert {lease.message.body for lease in leases} == {BODY}
    settle(store, *((lease, Delivered()) for lease in leases), now=None)


def hold_that_all_is_gone(server):
    """Read the tables without ap4r."""
    for table in ("messages", "ready", "scheduled", "leased", "dead", "attempts"):
        assert server.execute(f"SELECT count(*) FROM ap4r_{table}", "own") == [(0,)], table


@pytest.mark.parametrize("name", list(POSTGRESQL))
def test_a_setting_of_the_database(name, opened):
    """On PostgreSQL a database's own settings leave ids, names and bodies as they are."""
    server = shared_server("postgresql")
    url = server.make("own")
    server.execute(f"ALTER DATABASE own SET {name} = '{POSTGRESQL[name]}'")
    hold_the_way_of_messages(url, opened)
    hold_that_all_is_gone(server)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_environments_encoding(encoding, opened, monkeypatch):
    """PGCLIENTENCODING, which libpq reads, stops no name."""
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    server = shared_server("postgresql")
    hold_the_way_of_messages(server.make("own"), opened)
    hold_that_all_is_gone(server)


def test_a_setting_of_the_url(opened):
    """Nor do they when they stand in the store's URL."""
    server = shared_server("postgresql")
    url = server.make("own")
    hold_the_way_of_messages(f"{url}?options=-c%20standard_conforming_strings%3Doff&client_encoding=latin1", opened)
    hold_that_all_is_gone(server)


@pytest.mark.parametrize("name", list(MARIADB))
def test_a_setting_of_the_server(name, opened):
    """On MariaDB a server's own settings do so too."""
    server = shared_server("mariadb")
    url = server.make("own")
    [(before,)] = server.execute(f"SELECT @@GLOBAL.{name}")
    with ExitStack() as stack:
        stack.callback(server.execute, f"SET GLOBAL {name} = {before if isinstance(before, int) else repr(before)}")
        server.execute(f"SET GLOBAL {name} = {MARIADB[name]}")
        hold_the_way_of_messages(url, opened)
    hold_that_all_is_gone(server)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_of_the_server(mode, opened):
    """Nor does any of its modes."""
    server = shared_server("mariadb")
    url = server.make("own")
    [(before,)] = server.execute("SELECT @@GLOBAL.sql_mode")
    with ExitStack() as stack:
        stack.callback(server.execute, f"SET GLOBAL sql_mode = '{before}'")
        server.execute(f"SET GLOBAL sql_mode = '{mode}'")
        hold_the_way_of_messages(url, opened)


@contextmanager
def passwords_asked(server):
    """Require passwords in one database of PostgreSQL, which otherwise trusts."""
    [(name,)] = server.execute("SHOW hba_file")
    path = Path(name)
    before = path.read_text()
    path.write_text(f"host own all all scram-sha-256\n{before}")
    server.execute("SELECT pg_reload_conf()")
    wait_until(
        lambda: server.execute("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'")[0][0],
        "the rule is read",
    )
    try:
        yield
    finally:
        path.write_text(before)
        server.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_user_and_a_password_that_are_not_latin(kind, opened):
    """They go as UTF-8, as the server has them."""
    server = shared_server(kind)
    url = make_url(without_tls(server.make("own")))
    name, password = "jürgen-юзер", "größer/ключ:@密"
    host = "@'%'" if kind == "mariadb" else ""
    quoted = f"'{name}'{host}" if kind == "mariadb" else f'"{name}"'
    with ExitStack() as stack:
        if kind == "mariadb":
            server.execute(f"CREATE USER {quoted} IDENTIFIED BY '{password}'")
            stack.callback(server.execute, f"DROP USER {quoted}")
            server.execute(f"GRANT ALL ON own.* TO {quoted}")
        else:
            server.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD '{password}'")
            stack.callback(server.execute, f"DROP ROLE {quoted}")
            server.execute(f"ALTER DATABASE own OWNER TO {quoted}")
            stack.callback(server.execute, "ALTER DATABASE own OWNER TO ap4r")
            server.execute(f"GRANT ALL ON SCHEMA public TO {quoted}", "own")
            stack.callback(server.execute, f"DROP OWNED BY {quoted}", "own")
            stack.enter_context(passwords_asked(server))
        theirs = url.set(username=name, password=password).render_as_string(hide_password=False)
        hold_the_way_of_messages(theirs, opened)
        wrong = url.set(username=name, password="größer").render_as_string(hide_password=False)
        with pytest.raises(StoreUnusable, match="password"):
            put(opened(wrong), message())


@pytest.mark.parametrize("path", ["theirs", "nowhere", "theirs, public", '"$user"'])
def test_a_search_path_that_leads_elsewhere(path, opened):
    """On PostgreSQL the tables stay where they are, and nothing is made a second time where they are not."""
    server = shared_server("postgresql")
    url = server.make("own")
    put(opened(url), message("before"))
    server.execute("CREATE SCHEMA theirs AUTHORIZATION ap4r", "own")
    server.execute(f"ALTER DATABASE own SET search_path = {path}")
    store = opened(url)
    owner = dispatcher(store, now=None)
    put(store, message("after"), now=None)
    leases = claim(store, owner, now=None)
    assert sorted(lease.message.queue for lease in leases) == ["after", "before"]
    settle(store, *((lease, Delivered()) for lease in leases), now=None)
    assert store.status().queues == ()
    store.migrate()
    found = server.execute("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'ap4r%'", "own")
    assert found == [("public",)]


def test_tables_in_several_schemas(opened):
    """The search_path says which are meant; where it names none of them, the store is refused with what to say."""
    server = shared_server("postgresql")
    url = server.make("own")
    for name in ("one", "two"):
        server.execute(f"CREATE SCHEMA {name} AUTHORIZATION ap4r", "own")
        put(opened(f"{url}?options=-csearch_path%3D{name}"), message(name), now=None)
    with pytest.raises(StoreUnusable, match=r"schemas one, two .*search_path"):
        put(opened(url), message())
    for name in ("one", "two"):
        store = opened(f"{url}?options=-csearch_path%3D{name}")
        assert [lease.message.queue for lease in claim(store, dispatcher(store, now=None), now=None)] == [name]
