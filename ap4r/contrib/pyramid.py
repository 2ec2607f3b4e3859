"""Pyramid: messages of an attempt that pyramid_retry makes again are not stored with those of the next.

config.include("pyramid_retry")
config.include("ap4r.contrib.pyramid")
"""

from __future__ import annotations

from typing import Any

from ap4r.signing.verified_delivery import ENVIRON_KEY


def includeme(config: Any) -> None:
    """Subscribe to the attempts that pyramid_retry gives up, in whatever order the two are included."""
    config.add_subscriber(drop_attempt, "pyramid_retry.IBeforeRetry")


def drop_attempt(event: Any) -> None:
    """Drop what was said in the attempt that is thrown away."""
    handle = event.environ.get(ENVIRON_KEY)
    if handle is not None:
        handle.restart()
