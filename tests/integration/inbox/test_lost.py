"""A database that goes away within a block: that is said in ap4r's own words, whatever library the connection is of."""

from __future__ import annotations

import pytest

import ap4r
from ap4r.errors import StoreUnavailable
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from tests.integration.inbox.effects_table import KINDS, EffectsTable
from tests.support.databases import shared_server


@pytest.fixture(params=[f"{kind} {conn}" for kind in ("mariadb", "postgresql") for conn in KINDS[kind]])
def effects_table(request):
    """An effects table on a server whose sessions can be ended."""
    kind, _, conn = request.param.partition(" ")
    url = shared_server(kind).make("lost")
    store = open_store(url, Settings(store=url))
    store.migrate()
    store.close()
    effects_table = EffectsTable(url, conn)
    effects_table.server = shared_server(kind)
    yield effects_table
    effects_table.close()


@pytest.mark.parametrize("receiving", [True, False], ids=["once", "transaction"])
@pytest.mark.parametrize("effect", [True, False], ids=["behind a statement", "before any"])
def test_a_lost_connection_is_reported_as_an_outage(effects_table, receiving, effect):
    """It is a StoreUnavailable with a known outcome; nothing is stored, and a new connection succeeds."""

    def attempt(*, lose: bool) -> None:
        conn = effects_table.open()
        try:
            with ap4r.session(effects_table.url, bell="none") as handle:
                block = handle.once(conn, key="a") if receiving else handle.transaction(conn)
                with block:
                    if effect:
                        effects_table.effect(conn)
                    if lose:
                        effects_table.server.end_sessions()
                    handle.async_to("/next")
        finally:
            if lose and hasattr(conn, "invalidate"):
                conn.invalidate()
            conn.close()

    with pytest.raises(StoreUnavailable) as raised:
        attempt(lose=True)
    assert not raised.value.outcome_unknown
    assert (effects_table.effects, effects_table.records, effects_table.messages) == ([], 0, 0)
    attempt(lose=False)
    assert (len(effects_table.effects), effects_table.records, effects_table.messages) == (effect, receiving, 1)


@pytest.mark.parametrize("receiving", [True, False], ids=["once", "transaction"])
def test_a_connection_lost_before_the_block_is_reported_as_an_outage(effects_table, receiving):
    """An unnoticed loss appears at the block's first statement, as an error of ap4r and not of the driver."""
    if effects_table.kind.startswith("Session"):
        pytest.skip("a session connects within the block")
    conn = effects_table.open()
    try:
        with ap4r.session(effects_table.url, bell="none") as handle:
            effects_table.server.end_sessions()
            block = handle.once(conn, key="a") if receiving else handle.transaction(conn)
            with pytest.raises(StoreUnavailable), block:
                pytest.fail("the block was entered")
    finally:
        if hasattr(conn, "invalidate"):
            conn.invalidate()
        conn.close()
