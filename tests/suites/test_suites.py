"""Public test suites pass through the middleware as they pass without it, but for what is listed with its reason."""

from __future__ import annotations

import os

import pytest

from tests.suites.known import known_failures
from tests.suites.suites import SUITES, run

WAYS = pytest.mark.parametrize("says", [False, True], ids=["plain", "with a message"])
NAMES = pytest.mark.parametrize("name", SUITES)


def check(name, says, folder, *, everything):
    """Run a suite, and compare what failed with the list."""
    suite = SUITES[name]
    if suite.why_missing:
        if os.environ.get("CI") and name != "wsgiref":
            pytest.fail(suite.why_missing)
        pytest.skip(suite.why_missing)
    outcome = run(suite, folder, says=says, everything=everything)
    known = known_failures(name, says=says, everything=everything)
    new = {test: text for test, text in outcome.failed.items() if test not in known}
    assert not new, "\n\n".join(f"{test}\n{text}" for test, text in new.items())
    assert not set(known) - set(outcome.failed), "they are listed as failing, and pass"
    assert outcome.requests >= suite.requests
    assert (outcome.stored > 0) is says


@WAYS
@NAMES
@pytest.mark.timeout(300)
def test_a_suite_passes_through_the_middleware(name, says, tmp_path):
    """Its tests that call an application pass, plain and with a message in each request."""
    check(name, says, tmp_path, everything=False)


@WAYS
@NAMES
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_suite_passes_through_the_middleware(name, says, tmp_path):
    """All of its tests pass, those without an application too."""
    check(name, says, tmp_path, everything=True)
