"""What the log tells while the inbox cannot be looked into."""

from __future__ import annotations

import logging

from ap4r.errors import StoreUnavailable
from ap4r.middleware.deliveries.repeats import Repeats
from ap4r.signing.verified_delivery import VerifiedDelivery


class Away:
    """An inbox whose database is away."""

    def recall(self, key, until):
        """Fail."""
        raise StoreUnavailable("sqlite:///shop.db", "away")


def test_an_inbox_that_is_away_is_reported_now_and_then(caplog):
    """Every request is let through to the application, and the log has one line in ten seconds."""
    repeats = Repeats(["/pay"], Away())
    delivery = VerifiedDelivery(sender="app", id="1", path="/pay", signed_at=0, body_sha256=b"c" * 32)
    environ = {"PATH_INFO": "/pay", "SCRIPT_NAME": ""}
    with caplog.at_level(logging.WARNING, "ap4r.middleware"):
        for now, lines in [(1000.0, 1), (1000.1, 1), (1009.9, 1), (1010.0, 2), (1011.0, 2), (1021.0, 3)]:
            assert repeats.answer(environ, delivery, now) is None
            assert len(caplog.records) == lines
