"""Pyramid: messages of an attempt that pyramid_retry repeats are not stored with those of the next attempt.

config.include("pyramid_retry")
config.include("ap4r.contrib.pyramid")
"""

from __future__ import annotations

from typing import Any

from ap4r.signing.verified_delivery import ENVIRON_KEY


def includeme(config: Any) -> None:
    """Subscribe to the failed attempts of pyramid_retry, in whatever order the two are included."""
    config.add_subscriber(drop_attempt, "pyramid_retry.IBeforeRetry")


def drop_attempt(event: Any) -> None:
    """Drop the messages of the failed attempt."""
    handle = event.environ.get(ENVIRON_KEY)
    if handle is not None:
        handle.restart()
