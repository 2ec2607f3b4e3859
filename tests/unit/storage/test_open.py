"""A store's URL says what it is; anything else is refused with a hint."""

from __future__ import annotations

import pytest

from ap4r.backoff import Backoff
from ap4r.errors import ConfigError
from ap4r.settings import Settings
from ap4r.storage.open import open_store, store_rules


@pytest.mark.parametrize("url", ["", "ap4r.db", "sqlite://", "sqlite:///", "sqlite:ap4r.db", "oracle://host/x", "http"])
def test_what_is_no_store_is_refused(url):
    """A URL that names no store is a mistake in the settings, and the error shows what to write."""
    with pytest.raises(ConfigError, match="sqlite:///PATH") as caught:
        open_store(url, Settings())
    assert caught.value.setting == "store"


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/ap4r.db", "sqlite:///relative.db"])
def test_opening_looks_at_nothing(url):
    """A store may be named before its folder exists: nothing is looked at until the first call."""
    store = open_store(url, Settings())
    assert store.name == url
    store.close()


def test_the_rules_are_those_of_the_settings():
    """What a store needs of the settings reaches it."""
    rules = store_rules(
        Settings(
            create_tables=False,
            table_prefix="x_",
            put_memory_seconds=7.0,
            store_deadline_seconds=0.5,
            max_deliveries=3,
            max_crashes=2,
            backoff_first_seconds=9.0,
        )
    )
    assert (rules.create_tables, rules.table_prefix, rules.put_memory_seconds) == (False, "x_", 7.0)
    assert rules.deadline_seconds == 0.5
    assert (rules.delivery.max_deliveries, rules.delivery.max_crashes) == (3, 2)
    assert rules.delivery.backoff == Backoff(9.0, 2.0, 3_600.0)
