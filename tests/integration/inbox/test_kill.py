"""A receiver that is killed at any statement: the repeat has the effect exactly if nothing of it was committed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from ap4r.outbox import once
from tests.contract.backends import SHARED
from tests.integration.inbox.till import KINDS, Receiver, Till, delivery
from tests.support.probe import wait_until

_MOST_POINTS = 60


def _kill_at(till: Till, point: int) -> Callable[[], None]:
    """Have this process killed when it passes its so-manieth statement's beginning or end; give one more point."""
    passed = 0

    def pass_by(*_: Any) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(till.engine, name, pass_by)
    return pass_by


def _receive_in_child(till: Till, point: int) -> bool:
    """Receive in a process of its own, to be killed at a point; tell whether it was."""
    child = os.fork()
    if child == 0:
        try:
            pass_by = _kill_at(till, point)
            receiver = Receiver(till)
            receiver.within = lambda handle, conn, one: (handle.async_to("/next"), one.answer(201, b"made"))
            receiver.after = pass_by
            receiver.receive(delivery(point))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("database", sorted(KINDS))
def test_killed_at_every_statement(database, tmp_path, template, monkeypatch):
    """Wherever kill -9 strikes, call and repeat together have one effect, one record and one message sent on."""
    # What is done now and then, behind the commit, would move the points.
    monkeypatch.setattr(once._Tidying, "run_if_due", lambda *_: None)
    till = Till(SHARED[database](tmp_path, template).url, "Connection")
    repeated: list[int] = []
    try:
        for point in range(1, _MOST_POINTS):
            if not _receive_in_child(till, point):
                break
            receiver = Receiver(till)
            receiver.within = lambda handle, conn, one: (handle.async_to("/next"), one.answer(201, b"made"))
            # The server may need a moment to notice that its client has died.
            answers: list[Any] = []
            wait_until(
                lambda receiver=receiver, point=point, answers=answers: (
                    answers.append(receiver.receive(delivery(point))) or answers[-1][0] != 409
                ),
                "the repeat is let in",
                timeout_seconds=20,
            )
            assert answers[-1][0] == 200
            repeated += [point] if answers[-1][2] == b"again" else []
            assert (len(till.effects), till.records, till.messages) == (point, point, point)
        else:
            pytest.fail(f"killed at each of {_MOST_POINTS} points")
        assert point > 10
        # Only behind the COMMIT a repeat is one; the last point is the one behind the block.
        assert repeated == [point - 1]
    finally:
        till.close()
