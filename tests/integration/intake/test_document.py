"""What docs/intake.md shows is what happens."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from ap4r.dispatcher.http_server.intake.x_ap4r import OPTIONS
from tests.meta.tree import ROOT, blocks
from tests.support import storefile

DOCUMENT = ROOT / "docs" / "intake.md"


def test_the_curl_lines_work(taker, system, processes):
    """Each curl command of the document puts messages, as it stands there but for the port."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    shown = [block.text for block in blocks(DOCUMENT, "curl")]
    for text in shown:
        done = processes.run("sh", "-c", text.replace(":7438", f":{taker.port}"))
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stdout, done.stdout
        assert json.loads(done.stdout) if "/messages" in text else re.fullmatch("[0-9a-f-]{36}", done.stdout)
    assert len(shown) == 3
    assert storefile.count(system.store, "scheduled") >= 1


def test_every_answer_is_documented():
    """The document's table has each word that `error` may be."""
    told = set(re.findall(r"`([a-z_]+)`", DOCUMENT.read_text(encoding="utf-8").split("## Responses")[1]))
    said = set()
    for path in (ROOT / "ap4r" / "dispatcher" / "http_server").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        said |= set(re.findall(r'Refusal\(\s*\d+, "([a-z_]+)"', text))
    assert len(said) > 12
    assert said <= told


def test_every_option_is_documented():
    """The table of X-AP4R has each option that is read."""
    told = set(re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == set(OPTIONS)
