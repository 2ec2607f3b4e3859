"""What is missing skips its tests on a person's machine; where CI is set it fails them, so that nothing rots unseen."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.support.stalls import Stalls

_MISSING = re.compile(r"is not installed|could not import|no server")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Let a test that was skipped because something is missing fail where CI is set."""
    report = yield
    if os.environ.get("CI") and report.skipped and _MISSING.search(str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"CI is set, and this test was skipped: {report.longrepr[-1]}"
    return report


@pytest.fixture
def stalls() -> Iterator[Stalls]:
    """Tell when the machine stood still, for a test that holds somebody to a deadline."""
    with Stalls() as watched:
        yield watched
