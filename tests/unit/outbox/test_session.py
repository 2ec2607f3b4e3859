"""The handle outside a request."""

from __future__ import annotations

import logging

import pytest

import ap4r
from ap4r.errors import ConfigError, HandleClosed, PayloadTooLarge, StoreUnavailable
from tests.support.sink import MemorySink, unavailable


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


def test_a_clean_end_stores(sink):
    """In one put, at the end of the block."""
    with ap4r.session(sink) as handle:
        handle.async_to("/1")
        handle.async_to("/2")
        assert sink.calls == 0
    assert sink.paths == ["/1", "/2"]
    assert len(sink.puts) == 1
    with pytest.raises(HandleClosed):
        handle.async_to("/late")


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_an_exception_drops(error, sink):
    """It comes through; only what waits for failure is stored."""
    with pytest.raises(error), ap4r.session(sink) as handle:
        handle.async_to("/success")
        handle.async_to("/failure", on="failure")
        handle.async_to("/always", on="always")
        raise error
    assert sink.paths == ["/failure", "/always"]


def test_a_failing_store_is_an_exception(sink):
    """A script must not end as if it had stored something."""
    sink.error = unavailable()
    with pytest.raises(StoreUnavailable), ap4r.session(sink) as handle:
        handle.async_to("/work")


def test_a_failing_store_does_not_mask_the_scripts_exception(sink, caplog):
    """It is logged."""
    sink.error = unavailable()
    with pytest.raises(KeyError), ap4r.session(sink) as handle:
        handle.async_to("/work", on="always")
        raise KeyError
    assert "a test took it away" in caplog.text


def test_commit_within_a_session(sink):
    """A long script stores in portions."""
    with pytest.raises(KeyError), ap4r.session(sink) as handle:
        handle.async_to("/stored")
        handle.commit()
        handle.async_to("/dropped")
        raise KeyError
    assert sink.paths == ["/stored"]


def test_settings_bound_a_session_too(sink):
    """Given one by one."""
    with ap4r.session(sink, max_messages=1) as handle:
        handle.async_to("/1")
        with pytest.raises(PayloadTooLarge):
            handle.async_to("/2")


@pytest.mark.parametrize("settings", [{"nonsense": 1}, {"max_messages": 0}])
def test_a_wrong_setting_is_reported_before_the_block(settings, sink):
    """The block does not run."""
    with pytest.raises(ConfigError), ap4r.session(sink, **settings):
        raise AssertionError("the block must not run")


def test_the_store_is_reported_in_full_once(sink, caplog):
    """The log of a process that stores messages says where they are stored."""
    caplog.set_level(logging.INFO, "ap4r")
    with ap4r.session(sink) as handle:
        for _ in range(2):
            handle.async_to("/work")
            handle.commit()
    assert caplog.text.count("messages are kept in memory") == 1
