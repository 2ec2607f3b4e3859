"""A protocol of a package that is installed beside ap4r, found by its entry point on both sides."""

from __future__ import annotations

import pytest

import ap4r
from ap4r.protocols import registry
from tests.support import storefile
from tests.support.processes import Processes
from tests.support.system import System
from tests.support.target import ScriptedTarget

PACKAGE = """
from ap4r.outcome.response import Reason, ResponseReading
from ap4r.protocols.base import Encoded


class Shout:
    def encode(self, call):
        return Encoded(target=call.target, body=str(call.params).upper().encode())

    def judge(self, answer, message):
        return ResponseReading() if b"HEY" in message.body else ResponseReading(Reason.CLIENT_FAULT, "not heard")
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install the package for this process, and return the folder for others."""
    folder = tmp_path / "site"
    information = folder / "shouting-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "shouting.py").write_text(PACKAGE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[ap4r.protocols]\nshout = shouting:Shout\n")
    monkeypatch.syspath_prepend(str(folder))
    registry._loaded.cache_clear()
    yield folder
    registry._loaded.cache_clear()


def test_a_package_adds_a_protocol(tmp_path, installed):
    """It writes the request in the caller's process and judges the answer in the dispatcher's."""
    with Processes(tmp_path) as processes, ScriptedTarget() as target:
        system = System(processes, target)
        system.dispatcher(PYTHONPATH=str(installed))
        with ap4r.session(system.url) as handle:
            heard = handle.async_to("/x", "hey", protocol="shout")
            unheard = handle.async_to("/x", "psst", protocol="shout", max_deliveries=1)
        system.wait_until_empty()
        assert {request.body for request in target.wait_for(2)} == {b"HEY", b"PSST"}
        assert storefile.count(system.store, "dead") == 1
        letter = system.dead()[unheard]
        assert (letter["reason"], letter["detail"]) == ("client_fault", "not heard")
        assert heard not in system.dead()
