"""A dispatcher for each test that asks for one."""

from __future__ import annotations

import pytest

from tests.unit.dispatcher.world import World


@pytest.fixture
def world() -> World:
    """Return a dispatcher that has started and found nothing to do."""
    return World().start()
