"""What a store finds out about its server at the start: refused is what would fail later, warned of what is unsafe."""

from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest

from ap4r.errors import StoreUnusable
from tests.support.databases import PASSWORD, shared_server
from tests.support.factories import claim, dispatcher, ids, message, put

MEBIBYTE = 1024 * 1024


@contextmanager
def changed(server, name, value, back):
    """Change a setting of the whole server for the block."""
    server.set_globally(name, value)
    try:
        yield
    finally:
        server.set_globally(name, back)


def refused(store, *says):
    """Check that a store is refused, again and again, with these words and without the password."""
    for _ in range(2):
        with pytest.raises(StoreUnusable) as caught:
            put(store, message())
        assert all(word in str(caught.value) for word in says), caught.value
        assert PASSWORD not in str(caught.value)


class TestMariaDB:
    @pytest.fixture
    def kind(self):
        """Name the kind of server."""
        return "mariadb"

    def test_a_packet_that_is_too_small(self, opened, url):
        """A server that would not take a body of the limit's size is refused with both settings, and used below."""
        refused(opened(url, max_body_bytes=16 * MEBIBYTE), "max_allowed_packet is 16777216", "max_body_bytes needs")
        put(opened(url), message())

    def test_a_redo_log_that_is_too_small(self, server, opened, url):
        """A redo log of less than ten times the largest body is refused with both settings."""
        with changed(server, "max_allowed_packet", str(64 * MEBIBYTE), str(16 * MEBIBYTE)):
            refused(opened(url, max_body_bytes=16 * MEBIBYTE), "innodb_log_file_size is", "max_body_bytes needs")
            put(opened(url, max_body_bytes=4 * MEBIBYTE), message())

    def test_what_is_as_safe_raises_no_alarm(self, server, opened, url, caplog):
        """A log that is synced more often than need be is not warned of."""
        with changed(server, "innodb_flush_log_at_trx_commit", "3", "1"), caplog.at_level(logging.WARNING, "ap4r"):
            put(opened(url), message())
        assert not caplog.records


class TestPostgreSQL:
    @pytest.fixture
    def kind(self):
        """Name the kind of server."""
        return "postgresql"

    def test_a_body_that_no_server_takes(self, opened, url):
        """A limit that PostgreSQL cannot hold is refused with the setting to change; one below is used."""
        refused(opened(url, max_body_bytes=512 * MEBIBYTE), "max_body_bytes needs", "lower max_body_bytes")
        put(opened(url, max_body_bytes=500 * MEBIBYTE), message())

    def test_a_database_that_cannot_hold_every_name(self, server, opened):
        """A database of another encoding than UTF-8 is refused, with how to make it."""
        url = server.make("latin")
        server.execute("DROP DATABASE latin")
        server.execute(
            "CREATE DATABASE latin OWNER ap4r ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        refused(opened(url), "encoding is LATIN1", "ENCODING 'UTF8'")

    @pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
    def test_what_is_not_safe_raises_an_alarm(self, server, opened, url, caplog, name):
        """Each setting without which a crash loses what was acknowledged is warned of by its name."""
        with changed(server, name, "off", "on"), caplog.at_level(logging.WARNING, "ap4r"):
            put(opened(url), message())
        assert [name in record.getMessage() for record in caplog.records] == [True]

    def test_what_only_our_user_has_switched_off(self, server, opened, url, caplog):
        """What counts is what our own sessions have."""
        server.execute("ALTER ROLE ap4r SET synchronous_commit = off")
        try:
            with caplog.at_level(logging.WARNING, "ap4r"):
                put(opened(url), message())
        finally:
            server.execute("ALTER ROLE ap4r RESET synchronous_commit")
        assert ["synchronous_commit is off" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "queues", [("queue.a", "queue.A"), ("queue.a", "queue.ä"), ("queue.a", "queue.a "), ("ß", "ss")]
)
def test_names_are_compared_byte_by_byte(store, queues):
    """Names that differ in case, accents or a blank at the end are different queues."""
    made = {queue: message(queue) for queue in queues}
    put(store, *made.values())
    leases = claim(store, dispatcher(store))
    assert {lease.message.queue: lease.message.id for lease in leases} == {queue: made[queue].id for queue in queues}
    assert len({lease.lane for lease in leases}) == len(queues)


def test_a_server_is_looked_at_again_after_it_was_mended(opened):
    """A store that was refused is used as soon as the setting is changed, without a restart of anything."""
    server = shared_server("mariadb")
    store = opened(server.make("own"), max_body_bytes=9 * MEBIBYTE)
    refused(store, "max_allowed_packet")
    with changed(server, "max_allowed_packet", str(64 * MEBIBYTE), str(16 * MEBIBYTE)):
        one = message()
        put(store, one)
        assert ids(claim(store, dispatcher(store))) == [one.id]
