"""A dispatcher that is stopped finishes its calls, returns other messages without an attempt, and exits with 0."""

from __future__ import annotations

import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support import storefile
from tests.support.ledger import Line, read_ledger
from tests.support.ports import StuckPort
from tests.support.probe import hold_for, let_pass, wait_until
from tests.support.processes import free_port
from tests.support.stalls import Stalls
from tests.support.storefile import Found
from tests.support.system import System
from tests.support.target import ScriptedTarget

STATEMENTS_A_SECOND = 0.3
IDLE_SECONDS = 40.0
#: A grace that no test lives to see the end of: who waits for it is found out on the slowest machine.
ENDLESS_GRACE = {"AP4R_GRACE_SECONDS": "300"}


def test_calls_in_flight_end_within_the_grace(system: System, target: ScriptedTarget):
    """At SIGTERM nothing more is claimed, calls in flight end and are settled, and the exit code is 0."""
    dispatcher = system.dispatcher("--concurrency", "4")
    sent = system.send(*["/work?answer=hold:gate"] * 10)
    target.wait_for(4)
    dispatcher.send(signal.SIGTERM)
    hold_for(1.0, lambda: dispatcher.running, "the patience for calls in flight")
    target.open("gate")
    assert dispatcher.wait(10) == 0, dispatcher.tail
    assert len(target.requests) == 4
    states = Counter(storefile.look_for(system.store, message) for message in sent)
    assert states == {None: 4, Found("ready", attempt=0, failures=0, crashes=0): 6}
    assert storefile.owners(system.store) == []
    system.dispatcher(name="next")
    system.wait_until_empty()
    assert Counter(target.ids()) == Counter(sent)


@pytest.mark.timeout(60)
def test_the_rest_goes_back_at_no_cost(system: System, target: ScriptedTarget, stalls: Stalls):
    """Calls that outlast the grace are given up: repeated ones are ready again at once and cost no failure.

    One that may go `once` was called and is a dead letter (`unknown`); one that was not called yet goes back.
    """
    stuck = StuckPort()
    dispatcher = system.dispatcher(AP4R_GRACE_SECONDS="1", AP4R_CONNECT_TIMEOUT_SECONDS="30")
    [repeated] = system.send("/work?answer=hold:never,200")
    [once] = system.send("/work?answer=hold:never", delivery="once")
    uncalled, uncalled_once = (
        system.send(f"{stuck.url}/work", delivery=delivery)[0] for delivery in ("repeated", "once")
    )
    target.wait_for(2)
    wait_until(lambda: storefile.count(system.store, "leased") == 4, "all are claimed")
    told_at = time.monotonic()
    dispatcher.send(signal.SIGTERM)
    # Without its own grace it would wait for 25 s, and with the calls for 30 s.
    assert dispatcher.wait(15) == 0, dispatcher.tail
    ended_at = time.monotonic()
    assert 0.9 <= ended_at - told_at < 8 + stalls.within(told_at, ended_at)
    stuck.close()
    found = storefile.look_for(system.store, repeated)
    assert found is not None and (found.state, found.failures, found.crashes) == ("ready", 0, 0)
    for message in (uncalled, uncalled_once):
        assert storefile.look_for(system.store, message) == Found("ready", attempt=0, failures=0, crashes=0)
    letter = system.dead()[once]
    assert (letter["reason"], letter["called"]) == ("unknown", True)
    assert storefile.owners(system.store) == []
    system.dispatcher(name="next")
    assert target.wait_for(2, message=repeated)


def test_a_second_signal_ends_the_grace(system: System, target: ScriptedTarget):
    """An impatient second SIGTERM (or a Ctrl-C) ends the waiting, and is as orderly: nothing is lost or counted."""
    dispatcher = system.dispatcher(**ENDLESS_GRACE)
    [message] = system.send("/work?answer=hold:never,200")
    target.wait_for(1)
    dispatcher.send(signal.SIGTERM)
    # Two pending signals are one.
    dispatcher.wait_for_output("stopping work on")
    hold_for(0.5, lambda: dispatcher.running, "the patience for calls in flight")
    dispatcher.send(signal.SIGTERM)
    assert dispatcher.wait(20) == 0, dispatcher.tail
    found = storefile.look_for(system.store, message)
    assert found is not None and (found.failures, found.crashes) == (0, 0)
    assert storefile.owners(system.store) == []
    system.dispatcher(name="next")
    assert target.wait_for(2, message=message)[1].attempt == 2


def test_idle_dispatchers_stop_at_once(system: System, stalls: Stalls):
    """With nothing in flight nothing is waited for."""
    took = []
    for number in range(3):
        dispatcher = system.dispatcher(name=f"idle-{number}", **ENDLESS_GRACE)
        told_at = time.monotonic()
        dispatcher.send(signal.SIGTERM)
        assert dispatcher.wait(30) == 0, dispatcher.tail
        ended_at = time.monotonic()
        took.append(ended_at - told_at - stalls.within(told_at, ended_at))
    # What they wait for (the next poll, say) each would wait for; a machine that stands still makes one of them late.
    assert statistics.median(took) < 3, took


def test_reload(system: System, target: ScriptedTarget):
    """At SIGHUP new settings are taken from the file; wrong ones are refused with a line, and the old ones stay."""
    one, two = target.door("one"), target.door("two")
    config = system.processes.folder / "ap4r.toml"

    def write(url: str, rest: str = "") -> None:
        config.write_text(f'store = "{system.url}"\napp_urls = ["{url}"]\nlisten = "none"\n{rest}')

    write(one)
    dispatcher = system.processes.twistd_ap4r("--config", str(config))
    wait_until(lambda: storefile.owners(system.store), "it has registered", timeout_seconds=20)
    assert _door_of(system, target) == "one"
    write(two)
    dispatcher.send(signal.SIGHUP)
    wait_until(lambda: _door_of(system, target) == "two", "the new server is called")
    before = len(dispatcher.output)
    write(one, "concurrency = 0\n")
    dispatcher.send(signal.SIGHUP)
    wait_until(
        lambda: "concurrency" in dispatcher.output[before:], "the refusal is logged", otherwise=lambda: dispatcher.tail
    )
    assert _door_of(system, target) == "two"
    assert dispatcher.running


def _door_of(system: System, target: ScriptedTarget) -> str:
    [message] = system.send("/work")
    return target.wait_for(1, message=message)[0].door


def test_an_occupied_listen_port_is_an_error(system: System):
    """A second dispatcher on the same listen port ends with a message that names the port; `none` lets it run."""
    port = free_port()
    arguments = ("--store", system.url, "--app-url", system.door, "--listen")
    first = system.processes.twistd_ap4r(*arguments, f"tcp:{port}:interface=127.0.0.1", name="first")
    system.processes.wait_until_listening(first, port)
    second = system.processes.twistd_ap4r(*arguments, f"tcp:{port}:interface=127.0.0.1", name="second")
    assert second.wait(15) not in (0, None)
    assert str(port) in second.output, second.tail
    assert first.running
    system.dispatcher(name="third")


@pytest.mark.timeout(90)
def test_an_idle_dispatcher_asks_for_little(system: System, target: ScriptedTarget, measured: Callable[[str], None]):
    """While nothing is due a dispatcher makes at most 0.3 statements a second, BEGIN and COMMIT counted."""
    counted = system.ledger / "statements.jsonl"
    system.dispatcher(counted=counted)
    # What a delivery brings with it must come to an end too.
    system.send("/work")
    target.wait_for(1)
    system.wait_until_empty()
    let_pass(6.0)
    began_at = time.monotonic()
    let_pass(IDLE_SECONDS)
    statements = [line for line in read_ledger(system.ledger) if line["at"] >= began_at and not _is_local(line)]
    texts = Counter(" ".join(line["text"].split()[:4]) for line in statements)
    measured(f"{len(statements)} statements in {IDLE_SECONDS:g} s idle: {dict(texts)}")
    # A beat more or less may fall into so short a time.
    assert len(statements) <= STATEMENTS_A_SECOND * IDLE_SECONDS + 3, texts


def _is_local(line: Line) -> bool:
    # A PRAGMA of this kind sets a variable of the connection; it asks nothing of the database.
    return str(line["text"]).startswith("PRAGMA busy_timeout")


def test_nothing_is_left_in_the_folder(system: System):
    """A dispatcher leaves no pid file behind, and its working folder holds the store only."""
    folder = system.processes.folder / "empty"
    folder.mkdir()
    dispatcher = system.processes.twistd_ap4r("--listen", "none", "--app-url", system.door, folder=folder, name="plain")
    store = folder / "ap4r.db"
    wait_until(lambda: storefile.owners(store), "it has registered", timeout_seconds=20)
    assert {file.name.removesuffix("-wal").removesuffix("-shm") for file in folder.iterdir()} == {"ap4r.db"}
    dispatcher.send(signal.SIGTERM)
    assert dispatcher.wait(10) == 0
