"""What COMMIT and ABORT follow from."""

from __future__ import annotations

import pytest

from ap4r.middleware.response.commit_rule import judge_response
from ap4r.outbox.pending import On, Verdict

COMMIT, ABORT = Verdict.COMMIT, Verdict.ABORT


@pytest.mark.parametrize(
    ("status", "exception", "verdict"),
    [
        (100, None, COMMIT),
        (200, None, COMMIT),
        (204, None, COMMIT),
        (302, None, COMMIT),
        (304, None, COMMIT),
        (399, None, COMMIT),
        (400, None, ABORT),
        (404, None, ABORT),
        (499, None, ABORT),
        (500, None, ABORT),
        (503, None, ABORT),
        (999, None, ABORT),
        (200, ValueError(), ABORT),
        (200, GeneratorExit(), ABORT),
        (200, SystemExit(), ABORT),
        (500, ValueError(), ABORT),
    ],
)
@pytest.mark.parametrize("headers", [[], [("Content-Length", "1")]])
def test_the_rule_is_status_below_400_and_nothing_raised(status, exception, verdict, headers):
    """COMMIT below 400 when nothing was raised; the headers do not matter."""
    assert judge_response(status, headers, exception) is verdict


@pytest.mark.parametrize(
    ("on", "commit", "abort"), [(On.SUCCESS, True, False), (On.FAILURE, False, True), (On.ALWAYS, True, True)]
)
def test_which_messages_follow_which_verdict(on, commit, abort):
    """Success follows COMMIT, failure ABORT, always both."""
    assert on.follows(COMMIT) is commit
    assert on.follows(ABORT) is abort
