"""A standard library that is patched in part is found and said."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import ModuleType

import pytest

from ap4r.outbox.monkey_patches import find_partial_patch


def _eventlet(*patched):
    module = ModuleType("eventlet.patcher")
    module.is_monkey_patched = lambda name: name in patched
    return {"eventlet.patcher": module}


@pytest.mark.parametrize("patched", [(), ("socket", "thread", "time", "os")])
def test_all_or_nothing_is_well(patched):
    """A process without patches, or with all that is needed, causes no warning."""
    assert find_partial_patch(_eventlet(*patched)) is None
    assert find_partial_patch({}) is None


def test_a_part_is_reported_with_the_remedy():
    """What is patched, what is not, and the call that patches all."""
    problem = find_partial_patch(_eventlet("socket", "time"))
    assert problem.startswith("eventlet has patched socket and time, but not threads")
    assert "call eventlet.monkey_patch() without arguments" in problem


@pytest.mark.parametrize(
    ("patch", "warned"),
    [
        ("patch_all()", False),
        ("patch_all(thread=False)", True),
        ("patch_socket()", True),
        ("patch_thread()", True),
    ],
)
def test_gevent_shows_what_it_has_patched(patch, warned):
    """The question is asked of gevent itself, in a process that has patched so."""
    code = (
        f"from gevent import monkey; monkey.{patch}\nimport sys\n"
        "from ap4r.outbox.monkey_patches import find_partial_patch\nprint(find_partial_patch(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("gevent.monkey.patch_all()" in done.stdout) is warned, done.stdout


def test_it_is_logged_once_a_process(monkeypatch, caplog):
    """The first put says it; those behind it do not."""
    from ap4r.outbox.sink import Writer

    class Sink:
        def put(self, put):
            """Keep nothing."""

    monkeypatch.setitem(sys.modules, "eventlet.patcher", _eventlet("socket")["eventlet.patcher"])
    writer = Writer(Sink())
    with caplog.at_level(logging.WARNING):
        writer.write(None)
        writer.write(None)
    assert [record.message.startswith("eventlet has patched socket") for record in caplog.records] == [True]
