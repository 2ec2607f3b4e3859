"""reactor_time: a reactor that reads the wall clock is made to read the monotonic one."""

from __future__ import annotations

from twisted.internet.base import ReactorBase
from twisted.internet.task import LoopingCall

from ap4r.dispatcher.clock import reactor_time
from ap4r.dispatcher.clock.reactor_time import use_monotonic_time


class Reactor(ReactorBase):
    """Twisted's own computation of timers, over clocks that are moved by hand."""

    def installWaker(self):
        """No waker: nothing runs beside it."""

    def turn(self):
        """Run what is due, as the real loop does."""
        self.runUntilCurrent()
        return self.timeout()


class Time:
    """A monotonic clock and a wall clock."""

    def __init__(self, monkeypatch):
        self.monotonic_now, self.wall_now = 5_000.0, 1_700_000_000.0
        monkeypatch.setattr(reactor_time.time, "monotonic", lambda: self.monotonic_now)
        self.reactor = Reactor()
        self.reactor.seconds = lambda: self.wall_now

    def pass_time(self, seconds):
        """Advance both clocks."""
        self.monotonic_now += seconds
        self.wall_now += seconds


def test_a_step_of_the_wall_clock_moves_no_timer(monkeypatch):
    """Neither a day forwards, which would end all deadlines, nor a day backwards, which would stop every loop."""
    moved = Time(monkeypatch)
    use_monotonic_time(moved.reactor)
    ran = []
    moved.reactor.callLater(10.0, ran.append, "due")
    for step in (86_400.0, -2 * 86_400.0):
        moved.wall_now += step
        assert moved.reactor.turn() == 10.0
        assert ran == []
    moved.pass_time(10.0)
    moved.reactor.turn()
    assert ran == ["due"]


def test_what_was_scheduled_before_keeps_its_time(monkeypatch):
    """Also what is cancelled, delayed or reset afterwards."""
    moved = Time(monkeypatch)
    ran = []
    calls = {name: moved.reactor.callLater(5.0, ran.append, name) for name in ("kept", "cancelled", "reset", "delayed")}
    moved.reactor.turn()
    gone = moved.reactor.callLater(1.0, ran.append, "gone")
    gone.cancel()
    use_monotonic_time(moved.reactor)
    use_monotonic_time(moved.reactor)
    calls["cancelled"].cancel()
    calls["reset"].reset(2.0)
    calls["delayed"].delay(5.0)
    seen = {}
    for second in range(1, 12):
        moved.pass_time(1.0)
        moved.reactor.turn()
        seen[second] = list(ran)
    assert seen[1] == []
    assert seen[2] == seen[4] == ["reset"]
    assert seen[5] == seen[9] == ["reset", "kept"]
    assert seen[10] == ["reset", "kept", "delayed"]


def test_loops_of_twisted_follow(monkeypatch):
    """What is handed the reactor as its clock is on monotonic time too."""
    moved = Time(monkeypatch)
    use_monotonic_time(moved.reactor)
    turns = []
    loop = LoopingCall(lambda: turns.append(moved.monotonic_now))
    loop.clock = moved.reactor
    loop.start(1.0)
    for _ in range(3):
        moved.wall_now -= 3_600.0
        moved.pass_time(1.0)
        moved.reactor.turn()
    loop.stop()
    assert turns == [5_000.0, 5_001.0, 5_002.0, 5_003.0]
