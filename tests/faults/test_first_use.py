"""The first process creates an empty store: several start at once, and some are killed meanwhile."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.support import storefile
from tests.support.client import ask
from tests.support.probe import let_pass, wait_until
from tests.support.system import System
from tests.support.target import ScriptedTarget

STARTERS = 3
KILLS = 4


@pytest.mark.timeout(90)
def test_several_start_at_once(system: System, target: ScriptedTarget):
    """Dispatchers and web processes that find an empty store at the same time all work on it."""
    dispatchers = [system.dispatcher(name=f"dispatcher-{number}", wait=False) for number in range(STARTERS)]
    system.web("--workers=3", "--worker-class=sync")
    answers = [ask(system.web_port, f"/do?request={number}").status for number in range(30)]
    assert Counter(answers) == {200: 30}
    wait_until(lambda: len(storefile.owners(system.store)) == STARTERS, "all have registered", timeout_seconds=20)
    system.wait_until_empty()
    target.wait_for(30)
    for dispatcher in dispatchers:
        assert dispatcher.running and "Traceback" not in dispatcher.output, dispatcher.tail


@pytest.mark.timeout(90)
def test_killed_while_the_tables_are_made(system: System, target: ScriptedTarget):
    """A kill at any moment of the first start leaves a store that the next start makes whole."""
    for number in range(KILLS):
        for file in system.store.parent.glob("ap4r.db*"):
            file.unlink()
        starter = system.dispatcher(name=f"killed-{number}", wait=False)
        wait_until(system.store.exists, "it has begun", timeout_seconds=20, every_seconds=0.002)
        let_pass(random.uniform(0.0, 0.05))
        starter.kill()
        system.dispatcher(name=f"after-{number}").kill()
    for file in system.store.parent.glob("ap4r.db*"):
        file.unlink()
    system.dispatcher()
    [message] = system.send("/work")
    assert target.wait_for(1, message=message)
