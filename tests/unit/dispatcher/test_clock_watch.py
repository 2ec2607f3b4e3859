"""clock_watch: what is a step, a sleep or a standstill, and what deadlines count."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from ap4r.dispatcher.clock.clock_watch import Clocks, ClockWatch, RunningTime, changes
from ap4r.dispatcher.http_client.timeouts import Deadlines
from ap4r.events import events
from ap4r.events.bus import Events

DAY_SECONDS = 86_400.0
BEFORE = Clocks(1_700_000_000.0, 500.0, 900.0)


def after(*, wall=0.0, stood_still=0.0, slept=0.0):
    """Return what the clocks show a second later, when something has happened."""
    passed = 1.0 + stood_still
    return Clocks(
        BEFORE.wall + passed + slept + wall, BEFORE.monotonic + passed, BEFORE.boottime + passed + slept
    )  # fmt: skip


class TestChanges:
    @pytest.mark.parametrize("seconds", [1.0, 40.0, 3_600.0, DAY_SECONDS])
    @pytest.mark.parametrize("way", [1, -1])
    def test_a_step_of_the_wall_clock_is_reported_with_its_direction(self, seconds, way):
        """From one second to a day, forwards and backwards."""
        [event] = changes(BEFORE, after(wall=way * seconds))
        assert isinstance(event, events.ClockStepped)
        assert event.seconds == pytest.approx(way * seconds)

    @pytest.mark.parametrize("slew", [0.0005, -0.0005, 0.1, -0.1])
    def test_a_clock_that_is_slewed_makes_no_step(self, slew):
        """What NTP corrects little by little is no event."""
        assert list(changes(BEFORE, after(wall=slew))) == []

    def test_a_sleep_is_no_step(self):
        """The wall clock goes on while the machine sleeps; the monotonic clock does not."""
        assert list(changes(BEFORE, after(slept=3_600.0))) == [events.MachineSlept(3_600.0)]

    def test_a_standstill_is_neither(self):
        """All clocks go on while a process is stopped."""
        [event] = changes(BEFORE, after(stood_still=29.0))
        assert event == events.StoodStill(29.0)

    def test_a_virtual_machine_that_was_paused_finds_its_clock_set(self):
        """Neither of its own clocks went on; then the host sets the wall clock: a step, told beside a standstill."""
        found = list(changes(BEFORE, after(wall=600.0, stood_still=2.0)))
        assert [type(event) for event in found] == [events.StoodStill, events.ClockStepped]


class Machine:
    """A watch over clocks that are moved by hand."""

    def __init__(self):
        self.clock = Clock()
        self.told = []
        self.changed = 0
        self.set_by = self.slept = 0.0
        heard = Events()
        heard.subscribe(self.told.append)
        self.watch = ClockWatch(
            self.clock, heard, self._note,
            wall=lambda: 1_000.0 + self.clock.seconds() + self.slept + self.set_by,
            boottime=lambda: self.clock.seconds() + self.slept,
        )  # fmt: skip
        self.watch.start()

    def _note(self):
        self.changed += 1

    def run(self, seconds):
        """Run the reactor for so long."""
        self.clock.pump([0.25] * round(seconds * 4))

    def stand_still(self, seconds):
        """Advance the time in one turn."""
        self.clock.advance(seconds)


class TestWatch:
    def test_nothing_is_reported_while_nothing_happens(self):
        """An hour of quiet is quiet."""
        machine = Machine()
        machine.run(3_600)
        assert (machine.told, machine.changed) == ([], 0)
        assert machine.watch.longest_standstill_seconds() == 0.0

    @pytest.mark.parametrize("seconds", [-DAY_SECONDS, -1.0, 1.0, DAY_SECONDS])
    def test_a_step_is_reported_once_and_the_store_is_looked_at(self, seconds):
        """Within a second or two, and never again."""
        machine = Machine()
        machine.run(5)
        machine.set_by = seconds
        machine.run(60)
        [event] = machine.told
        assert event.seconds == pytest.approx(seconds)
        assert machine.changed == 1

    def test_a_sleep_has_the_store_looked_at(self):
        """What fell due meanwhile waits no longer."""
        machine = Machine()
        machine.slept = 3_600.0
        machine.run(2)
        assert machine.told == [events.MachineSlept(3_600.0)]
        assert machine.changed == 1

    def test_a_standstill_is_remembered_for_a_minute(self):
        """So that a health page that is asked now and then tells of it."""
        machine = Machine()
        machine.run(5)
        machine.stand_still(30)
        assert machine.told == [events.StoodStill(pytest.approx(29.0, abs=1.0))]
        assert machine.watch.longest_standstill_seconds() == pytest.approx(29.0, abs=1.0)
        assert machine.changed == 0
        machine.run(50)
        assert machine.watch.longest_standstill_seconds() > 28.0
        machine.run(20)
        assert machine.watch.longest_standstill_seconds() == 0.0

    def test_no_look_after_the_end(self):
        """A watch that has stopped leaves no timer behind."""
        machine = Machine()
        machine.watch.stop()
        assert machine.clock.getDelayedCalls() == []


class TestDeadlines:
    def test_a_standstill_is_not_counted(self):
        """Who is waited for has the whole time to be heard, whichever timer the reactor runs first afterwards."""
        for before in (0.3, 0.9, 1.4):
            machine, passed = Machine(), []
            deadlines = Deadlines(machine.clock, machine.watch.running_time)
            machine.run(before)
            deadlines.set(5.0, lambda passed=passed: passed.append("too late"))
            machine.run(1)
            machine.stand_still(60)
            machine.run(2)
            assert passed == []
            machine.run(5)
            assert passed == ["too late"]

    def test_without_a_standstill_they_pass_when_they_should(self):
        """Not a turn of the reactor later."""
        machine, passed = Machine(), []
        deadlines = Deadlines(machine.clock, machine.watch.running_time)
        for seconds in (0.5, 1.0, 30.0):
            deadlines.set(seconds, lambda: passed.append(machine.clock.seconds()))
        machine.run(31)
        assert passed == [0.5, 1.0, 30.0]

    def test_without_a_watch_it_is_the_clock(self):
        """Nothing is taken off where nothing looks."""
        clock = Clock()
        time = RunningTime(clock)
        clock.advance(1_000.0)
        assert time.seconds() == time.seconds_now() == 1_000.0
