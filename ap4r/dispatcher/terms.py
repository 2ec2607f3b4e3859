"""The settings of delivering, replaced as a whole when they are read anew."""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.dispatcher.bearing import Bearings
from ap4r.dispatcher.rewrite import Rewriting
from ap4r.dispatcher.way import Ways
from ap4r.outcome import DeliveryRules


@dataclass(slots=True)
class Terms:
    """How attempts are judged and timed, how servers want to be called, where targets lead."""

    rules: DeliveryRules
    timeout_seconds: float
    bearings: Bearings
    rewriting: Rewriting
    ways: Ways
