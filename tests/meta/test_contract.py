"""The contract suite can be run on a store that this project does not know."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.meta.tree import ROOT


def test_the_suite_runs_on_an_external_store():
    """With CONTRACT_BACKEND it runs on that store and on no other, and a stand-in in memory passes it."""
    environ = {**os.environ, "CONTRACT_BACKEND": "tests.contract.backends:in_memory"}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider",
         "tests/contract/test_put.py", "tests/contract/test_settle.py"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "[in_memory" in ended.stdout
    assert not {"sqlite", "mariadb", "postgresql"} & set(ended.stdout.replace("[", " ").replace("]", " ").split())
