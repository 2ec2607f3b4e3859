"""Bells ring after the commit, and only then where that can be known."""

from __future__ import annotations

import socket
import time

import pytest

from ap4r.doorbell import ringer
from ap4r.doorbell.ringer import KnownBells


@pytest.fixture
def bell(case, monkeypatch):
    """A dispatcher's doorbell, hung up in the application's database; gives what tells whether it rang."""
    monkeypatch.setattr(ringer, "_bells", {})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        case.shop.register(f"udp://127.0.0.1:{listener.getsockname()[1]}")

        def rang():
            time.sleep(0.01)
            try:
                return bool(listener.recv(64))
            except BlockingIOError:
                return False

        yield rang


def test_a_block_that_commits_rings_at_once(case, bell):
    """Not before, and not without messages."""
    with case.session() as handle:
        with handle.transaction(**case.subject.given):
            pass
        assert not bell()
        with handle.transaction(**case.subject.given):
            handle.async_to("/mail")
            assert not bell()
        assert bell()


def test_a_joined_transaction_rings_after_its_commit(case, bell):
    """Django and SQLAlchemy's Session tell of it; for the others the bell rings when the request ends."""
    tells = case.kind.startswith(("django", "session", "scoped"))
    with case.session() as handle:
        for end, expected in ((case.subject.rollback, False), (case.subject.commit, tells)):
            case.subject.begin()
            with handle.join(**case.subject.given):
                handle.async_to("/mail")
            with handle.transaction(**case.subject.given):
                handle.async_to("/again")
            assert not bell()
            end()
            assert bell() is expected
            while bell():
                pass
    assert bell() is not tells


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self):
        """Return the time."""
        return self.now


def test_addresses_are_kept_for_half_a_minute():
    """One is rung at random; rings of the same moment are one; a failure is ignored."""
    clock, sent = Clock(), []
    bells = KnownBells(clock=clock, choose=lambda known: known[-1], send=sent.append)
    assert bells.is_due
    bells.ring()
    bells.learn(["udp://a", "udp://b"])
    bells.ring()
    bells.ring()
    assert sent == ["udp://b"]
    clock.now = 29.0
    bells.ring()
    assert sent == ["udp://b"] * 2
    assert not bells.is_due
    clock.now = 30.0
    assert bells.is_due
    bells.learn([])
    clock.now = 35.0
    assert bells.is_due
    KnownBells(clock=clock, send=lambda address: 1 / 0).ring()
