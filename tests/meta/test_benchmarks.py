"""Benchmarks that nobody runs rot: each runs here in its short form. Speed itself is not judged."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.meta.tree import ROOT


@pytest.mark.timeout(120)
def test_the_delivery_benchmark_runs():
    """`make bench` still measures: it delivers every message to nginx and says how fast, beside bare treq."""
    if shutil.which("nginx") is None and shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed")
    command = [sys.executable, "-m", "benchmarks.deliver", "--messages", "200", "--rounds", "1", "--concurrency", "8"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "treq" in done.stdout
