"""The suites: where each is, which of its files call an application, and how it is run."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

PLACE = ROOT / ".venv-suites"
_PLUGIN = Path(__file__).parent / "plugin"
_LONGEST_SECONDS = 600
_WITHOUT_SETTINGS = ("bottle", "wsgiref")


@dataclass(frozen=True)
class Suite:
    """One suite.

    :param files: those that call an application; all others are for the long form.
    :param everything: what the long form runs.
    :param requests: at least so many requests come through the middleware in the short form.
    """

    name: str
    files: Sequence[str]
    everything: Sequence[str]
    requests: int

    @property
    def folder(self) -> Path:
        """Where its sources are."""
        if self.name == "wsgiref":
            return _PLUGIN
        [found] = (PLACE / "sdists").glob(f"{self.name}-*")
        return found

    @property
    def why_missing(self) -> str:
        """Why it cannot be run here; empty when it can."""
        if self.name == "wsgiref" and importlib.util.find_spec("test.test_wsgiref") is None:
            return "this Python has no package `test` (Debian: libpython3-testsuite)"
        return "" if (PLACE / "stamp").exists() else "the suites are not here; .ci/prepare-suites fetches them"


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "werkzeug",
            [
                "tests/middleware",
                *(f"tests/test_{name}.py" for name in ("debug", "formparser", "test", "utils", "wrappers", "wsgi")),
            ],
            # The development server's own tests start processes of their own, which are not wrapped.
            ["tests", "--ignore=tests/test_serving.py"],
            150,
        ),
        Suite("flask", ["tests"], ["tests"], 400),
        Suite(
            "webob",
            [
                f"tests/test_{name}.py"
                for name in ("client_functional", "dec", "exc", "request", "response", "static", "transcode")
            ],
            ["tests"],
            100,
        ),
        Suite("bottle", ["test"], ["test"], 150),
        Suite("waitress", ["tests/test_channel.py", "tests/test_task.py"], ["tests"], 20),
        Suite("wsgiref", ["--pyargs", "test.test_wsgiref"], ["--pyargs", "test.test_wsgiref"], 30),
    )
}


@dataclass(frozen=True)
class Outcome:
    """What a run brought: the failures with their texts by test, and counts."""

    failed: dict[str, str]
    passed: int
    requests: int
    stored: int


def run(suite: Suite, folder: Path, *, says: bool, everything: bool = False, wraps: bool = True) -> Outcome:
    """Run a suite in a process of its own, and return what it brought.

    :param folder: for what the run writes.
    :raises AssertionError: the run did not come to its end.
    """
    outcomes = folder / f"{suite.name}-{'says' if says else 'plain'}.json"
    paths = [PLACE / "lib", suite.folder / "src", suite.folder, _PLUGIN]
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))},
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "AP4R_SUITE": suite.name if wraps else "none",
        "AP4R_SUITE_SAYS": str(int(says)),
        "AP4R_SUITE_OUTCOMES": str(outcomes),
    }
    quiet = (
        "-p",
        "ap4r_suite",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:timeout",
        "-o",
        "addopts=",
    )
    # An own temporary folder: the usual one is shared, and removed by other runs.
    own = (f"--basetemp={folder / 'suite-tmp'}",)
    # Those that have no settings of pytest's would find this project's.
    settings = (
        ("-c", str(_PLUGIN / "pytest.ini"), f"--rootdir={suite.folder}") if suite.name in _WITHOUT_SETTINGS else ()
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        *quiet,
        *own,
        *settings,
        *(suite.everything if everything else suite.files),
    ]
    ended = subprocess.run(
        command, cwd=suite.folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_LONGEST_SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode in (0, 1), f"{ended.stdout[-3_000:]}{ended.stderr[-3_000:]}"
    told: dict[str, Any] = json.loads(outcomes.read_text())
    return Outcome(told["failed"], told["passed"], told["requests"], told["stored"])
