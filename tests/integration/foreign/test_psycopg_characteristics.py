"""psycopg: a block on an autocommit connection is a transaction of the kind that was set on the connection."""

from __future__ import annotations

import pytest

import ap4r
from tests.integration.foreign.subjects import Psycopg, PsycopgAutocommit
from tests.support.sink import MemorySink

psycopg = pytest.importorskip("psycopg")
SET = {
    "nothing": {},
    "serializable": {"isolation_level": psycopg.IsolationLevel.SERIALIZABLE},
    "read uncommitted": {"isolation_level": psycopg.IsolationLevel.READ_UNCOMMITTED},
    "read-only": {"read_only": True},
    "read-write": {"read_only": False},
    "all": {"isolation_level": psycopg.IsolationLevel.SERIALIZABLE, "read_only": True, "deferrable": True},
    "not deferrable": {"isolation_level": psycopg.IsolationLevel.REPEATABLE_READ, "deferrable": False},
}
SHOWN = ("transaction_isolation", "transaction_read_only", "transaction_deferrable")


@pytest.fixture
def shop(make_shop):
    """A clean shop on PostgreSQL."""
    return make_shop("postgresql")


def shown(raw):
    """Return what the server says of the open transaction."""
    return [raw.execute(f"SHOW {name}").fetchone() for name in SHOWN]


@pytest.mark.parametrize("subject", [PsycopgAutocommit, Psycopg])
@pytest.mark.parametrize("chosen", SET)
def test_a_block_is_of_the_connections_kind(shop, subject, chosen):
    """transaction() and once() begin what psycopg's own transaction() begins, reading and isolation alike."""
    held = subject(shop.url)
    for name, value in SET[chosen].items():
        setattr(held.raw, name, value)
    with held.raw.transaction():
        own = shown(held.raw)
    with ap4r.session(MemorySink()) as handle, handle.transaction(held.raw):
        assert shown(held.raw) == own
    held.close()


def test_a_write_skew_is_refused(shop):
    """Two serializable blocks that each rely on what the other changes do not both commit."""
    shop.execute("INSERT INTO orders VALUES (1), (2)")
    one, two = PsycopgAutocommit(shop.url), PsycopgAutocommit(shop.url)
    for held in (one, two):
        held.raw.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    with (
        pytest.raises(psycopg.errors.SerializationFailure),
        ap4r.session(MemorySink()) as handle,
        handle.transaction(one.raw),
    ):
        assert one.raw.execute("SELECT count(*) FROM orders").fetchone()[0] == 2
        with ap4r.session(MemorySink()) as other, other.transaction(two.raw):
            assert two.raw.execute("SELECT count(*) FROM orders").fetchone()[0] == 2
            two.raw.execute("DELETE FROM orders WHERE number = 2")
        one.raw.execute("DELETE FROM orders WHERE number = 1")
    assert shop.orders == [1]
    one.close()
    two.close()
