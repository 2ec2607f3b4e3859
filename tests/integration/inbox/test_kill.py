"""A receiver that is killed at any statement: the repeat has the effect exactly if nothing of it was committed."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from sqlalchemy import event

from ap4r.inbox import receive
from tests.contract.backends import SHARED
from tests.integration.inbox.effects_table import KINDS, EffectsTable, Receiver, delivery
from tests.support.probe import wait_until

_MOST_POINTS = 60


def _kill_at(effects_table: EffectsTable, point: int) -> None:
    """Kill this process at the point of this number: before and after each statement, and at COMMIT."""
    passed = 0

    def pass_by(*_: Any) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(effects_table.engine, name, pass_by)


def _receive_in_child(effects_table: EffectsTable, number: int, point: int) -> bool:
    """Receive in a process of its own, to be killed at a point, 0 for behind the commit; tell whether it was."""
    child = os.fork()
    if child == 0:
        try:
            receiver = _receiver(effects_table)
            if point:
                _kill_at(effects_table, point)
            else:
                receiver.after = lambda: os.kill(os.getpid(), signal.SIGKILL)
            receiver.receive(delivery(number))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _receiver(effects_table: EffectsTable) -> Receiver:
    receiver = Receiver(effects_table)
    receiver.within = lambda handle, conn, one: (handle.async_to("/next"), one.answer(201, b"made"))
    return receiver


def _repeat(effects_table: EffectsTable, number: int) -> bytes:
    """Receive the message again, as often as it takes a server to notice that its client has died."""
    receiver, answers = _receiver(effects_table), []

    def is_let_in() -> bool:
        answers.append(receiver.receive(delivery(number)))
        return answers[-1][0] != 409

    wait_until(is_let_in, "the repeat is let in", timeout_seconds=20)
    assert answers[-1][0] == 200
    return answers[-1][2]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("database", sorted(KINDS))
def test_killed_at_every_statement(database, tmp_path, template, monkeypatch):
    """After kill -9 at any point, call and repeat together have one effect, one record and one further message."""
    # What is done now and then, behind the commit, is not what is to be killed.
    monkeypatch.setattr(receive._Cleanup, "run_if_due", lambda *_: None)
    effects_table = EffectsTable(SHARED[database](tmp_path, template).url, "Connection")
    try:
        for point in range(1, _MOST_POINTS):
            if not _receive_in_child(effects_table, point, point):
                break
            # Up to the COMMIT nothing is there: the repeat is the first.
            assert _repeat(effects_table, point) == b"first"
            assert (len(effects_table.effects), effects_table.records, effects_table.messages) == (point, point, point)
        assert 10 < point < _MOST_POINTS - 1
        assert _receive_in_child(effects_table, point + 1, 0)
        assert _repeat(effects_table, point + 1) == b"again"
        assert (len(effects_table.effects), effects_table.records, effects_table.messages) == (point + 1,) * 3
    finally:
        effects_table.close()
