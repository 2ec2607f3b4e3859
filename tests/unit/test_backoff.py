"""Backoff: bounded, growing, and indifferent to absurd numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.outcome.backoff import Backoff

SECONDS = st.floats(0, 2**31 - 1)
BACKOFFS = st.builds(Backoff, SECONDS, st.floats(1, 1_000) | st.integers(1, 1_000), SECONDS)
RANDOM = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(1, 5.0), (2, 10.0), (3, 20.0), (10, 2_560.0), (11, 3_600.0), (1_025, 3_600.0), (10**12, 3_600.0), (0, 5.0)],
)
def test_ceiling_doubles_up_to_an_hour(attempt, ceiling):
    """By default the longest wait is 5 s after the first attempt, twice that each time, an hour at most."""
    assert Backoff().ceiling_seconds(attempt) == ceiling


@given(BACKOFFS, st.integers(1, 10**15), RANDOM)
def test_wait_is_bounded(backoff, attempt, random):
    """A wait is never under the floor and never over the cap, whatever the attempt."""
    wait = backoff.wait_seconds(attempt, random)
    assert backoff.floor_seconds <= wait <= max(backoff.floor_seconds, backoff.cap_seconds)


@given(BACKOFFS, st.integers(1, 3_000), st.integers(1, 3_000))
def test_ceiling_never_falls(backoff, one, other):
    """A later attempt never has a shorter longest wait."""
    assert backoff.ceiling_seconds(min(one, other)) <= backoff.ceiling_seconds(max(one, other))


@given(st.integers(1, 50), st.tuples(RANDOM, RANDOM))
def test_jitter_is_full(attempt, randoms):
    """The wait grows with the random number, from the floor up to the ceiling."""
    less, more = sorted(randoms)
    assert Backoff().wait_seconds(attempt, less) <= Backoff().wait_seconds(attempt, more)
    assert Backoff().wait_seconds(attempt, 0.0) == 1.0
    assert Backoff().wait_seconds(attempt, 0.5) == max(1.0, Backoff().ceiling_seconds(attempt) / 2)


def test_no_first_wait_stays_none():
    """With backoff_first_seconds = 0 every wait is the floor, also where the power overflows."""
    backoff = Backoff(first_seconds=0.0)
    assert {backoff.wait_seconds(attempt, 0.99) for attempt in (1, 2, 1_024, 1_025, 10**9)} == {1.0}
    assert {backoff.ceiling_seconds(attempt) for attempt in (1, 1_024, 1_025)} == {0.0}
    assert Backoff(first_seconds=0.25).ceiling_seconds(2) == 0.5


def test_a_whole_factor_is_not_raised_exactly():
    """A factor of 2 (not 2.0) and a huge attempt make no number of millions of digits."""
    assert Backoff(5, 2, 3_600).ceiling_seconds(10**15) == 3_600
