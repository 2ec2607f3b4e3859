"""What the tests of databases hold others to is itself able to fail."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.stores.invariants import CrowdResult
from tests.stores.shop import called_together
from tests.support.databases import require


def line(kind, id, attempt):
    """Create a line of the target's."""
    return {"kind": kind, "id": id, "attempt": attempt}


def test_calls_at_the_same_time_are_found():
    """A call that begins before the previous one was answered is reported; a later one is not."""
    one_after_another = [line("arrival", "a", 1), line("answer", "a", 1), line("arrival", "a", 2)]
    assert called_together(one_after_another) == []
    assert called_together([line("arrival", "a", 1), line("arrival", "b", 1), line("arrival", "a", 2)]) == ["a"]


@pytest.mark.parametrize(
    "found",
    [
        CrowdResult(put={"a"}, tried={"a"}),
        CrowdResult(delivered=Counter({"a": 1})),
        CrowdResult(put={"a"}, tried={"a"}, delivered=Counter({"a": 2})),
        CrowdResult(overlaps=["a"]),
    ],
    ids=["lost", "never put", "settled twice", "held by two"],
)
def test_a_crowd_that_went_wrong_is_found(found):
    """Messages that were lost, unknown, settled twice or held by two at once are reported."""
    with pytest.raises(AssertionError):
        found.assert_invariants()


def test_a_missing_server_skips_here_and_fails_in_ci(monkeypatch):
    """Without a server a person's tests skip, saying what to install; where CI is set they fail."""
    assert require("/usr/sbin/postgres", "postgresql") == "/usr/sbin/postgres"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install galera-4"):
        require(None, "galera-4")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install galera-4"):
        require(None, "galera-4")
