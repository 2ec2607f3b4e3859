"""Receiving once in Django, with and without a transaction around each request."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import pytest

from tests.contract.backends import SHARED
from tests.meta.tree import ROOT


@pytest.mark.parametrize(
    ("mode", "second", "third"),
    [
        # The block's own commit stands, whatever the view does behind it.
        ("plain", [500, "", 1], [201, "made", 1]),
        # The request's transaction takes the record back with the effect, so the next call is a first.
        ("atomic", [500, "", 0], [200, "first", 1]),
    ],
)
def test_the_record_follows_the_transaction_of_the_view(mode, second, third, tmp_path, template):
    """Effect and record are there together, or neither is, under both of Django's ways."""
    path = SHARED["sqlite"](tmp_path, template).url.removeprefix("sqlite:///")
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE effects (number INTEGER)")
    connection.commit()
    connection.close()
    command = [sys.executable, "-m", "tests.integration.inbox.shop_django", path, mode]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[500, "", 0], second, third, [201, "made", 1]]
