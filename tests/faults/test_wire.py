"""Every ending that a target can give a call, over real sockets: where the message stands then, and why."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support import storefile
from tests.support.ports import StuckPort, refusing_port
from tests.support.probe import wait_until
from tests.support.storefile import Found
from tests.support.system import System
from tests.support.target import ScriptedTarget

#: So long that nothing is repeated by itself while the test looks; what the target asked for is longer still. And so
#: long that a busy machine makes no timeout of another ending.
WAITS = {
    "AP4R_TIMEOUT_SECONDS": "15",
    "AP4R_CONNECT_TIMEOUT_SECONDS": "10",
    "AP4R_BACKOFF_FIRST_SECONDS": "3600",
}
#: What messages give whose call must time out. What comes before the call stalls must come within it.
TIMES_OUT_SECONDS = 3.0
ASKED_SECONDS = 3_000


@dataclass(frozen=True)
class Ending:
    """What a call comes to. `final` means dead at once; `counts` that it costs max_deliveries."""

    answer: str
    reasons: tuple[str, ...]
    status: int | None = None
    final: bool = False
    counts: bool = True
    least_wait_seconds: float = 0.0

    @property
    def options(self) -> dict[str, object]:
        """What is said of its message."""
        return {"timeout_seconds": TIMES_OUT_SECONDS} if "timeout" in self.reasons else {}


DELIVERED = ("200", "201", "204")
FAILED = (
    Ending("301", ("status",), 301),
    Ending("400", ("status",), 400),
    Ending("404", ("status",), 404),
    Ending("500", ("status",), 500),
    Ending("410", ("gone",), 410, final=True),
    Ending("489", ("gone",), 489, final=True),
    Ending("429", ("slow_down",), 429, counts=False),
    Ending(f"429:{ASKED_SECONDS}", ("slow_down",), 429, counts=False, least_wait_seconds=ASKED_SECONDS - 30),
    Ending(f"429-date:{ASKED_SECONDS}", ("slow_down",), 429, counts=False, least_wait_seconds=ASKED_SECONDS - 30),
    Ending("503", ("slow_down",), 503, counts=False),
    Ending("never", ("timeout",)),
    Ending("stalled-header", ("timeout",)),
    Ending("stalled-body", ("timeout",), 200),
    Ending("stalled-chunks", ("timeout",), 200),
    Ending("trickle", ("timeout",), 200),
    Ending("close", ("reset", "bad_response")),
    Ending("reset", ("reset",)),
    Ending("half-header", ("reset", "bad_response")),
    Ending("half-body", ("reset", "bad_response"), 200),
    Ending("half-chunks", ("reset", "bad_response"), 200),
    Ending("garbage", ("bad_response",)),
    Ending("endless-body", ("body_too_large",), 200, final=True),
)


def _send_each(system: System, target: ScriptedTarget, **options: object) -> dict[str, str]:
    """Send one message for each failing answer, each to a server of its own; returns their ids."""
    return {
        ending.answer: system.send(
            f"{target.door(ending.answer)}/work?answer={ending.answer}",
            queue=f"wire.{ending.answer}",
            **ending.options,
            **options,
        )[0]
        for ending in FAILED
    }


@pytest.mark.timeout(60)
def test_a_failed_call_waits_for_another(system: System, target: ScriptedTarget):
    """Each failure is counted or not as it should be, is written down with its reason, and waits as it was asked."""
    system.dispatcher(**WAITS)
    sent = _send_each(system, target)
    wrong: dict[str, object] = {}
    for ending in FAILED:
        message = sent[ending.answer]
        expected = Found("dead" if ending.final else "scheduled", attempt=1, failures=int(ending.counts), crashes=0)
        found = wait_until(lambda message=message: _settled(system, message), f"{ending.answer} is settled")
        [(attempt, reason, status)] = storefile.failed_attempts(system.store, message)
        if found != expected or reason not in ending.reasons or (attempt, status) != (1, ending.status):
            wrong[ending.answer] = (found, attempt, reason, status)
        elif not ending.final and storefile.due_in(system.store, message) < ending.least_wait_seconds:
            wrong[ending.answer] = storefile.due_in(system.store, message)
    assert not wrong
    assert len(target.requests) == len(FAILED), "a redirect was followed or a call was repeated"


def _settled(system: System, message: str) -> Found | None:
    found = storefile.look_for(system.store, message)
    return found if found is not None and found.state in ("scheduled", "dead") else None


@pytest.mark.timeout(60)
def test_the_last_failure_makes_a_dead_letter(system: System, target: ScriptedTarget):
    """With max_deliveries=1 every counted failure is a dead letter, told by `ap4r dead` with reason and status."""
    system.dispatcher(**WAITS)
    sent = _send_each(system, target, max_deliveries=1)
    for ending in FAILED:
        message = sent[ending.answer]
        wait_until(lambda message=message: _settled(system, message), f"{ending.answer} is settled")
    dead = system.dead()
    wrong: dict[str, object] = {}
    for ending in FAILED:
        letter = dead.get(sent[ending.answer])
        if not ending.counts:
            if letter is not None:
                wrong[ending.answer] = letter
        elif letter is None:
            wrong[ending.answer] = storefile.look_for(system.store, sent[ending.answer])
        elif letter["reason"] not in ending.reasons or (
            letter["status"],
            letter["attempt"],
            letter["failures"],
            letter["called"],
        ) != (ending.status, 1, 1, True):
            wrong[ending.answer] = letter
    assert not wrong
    queues = {queue["queue"]: queue for queue in system.status()["queues"]}
    assert {name: queue["dead"] for name, queue in queues.items()} == {
        f"wire.{ending.answer}": int(ending.counts) for ending in FAILED
    }


@pytest.mark.timeout(60)
def test_once_and_best_effort_are_never_called_again(system: System, target: ScriptedTarget):
    """Whatever the ending: a message that goes `once` is dead after it, one with the best effort is forgotten."""
    system.dispatcher(**WAITS)
    once = _send_each(system, target, delivery="once")
    best = _send_each(system, target, delivery="best_effort")
    system.wait_until_empty()
    assert set(system.dead()) == set(once.values())
    assert {storefile.look_for(system.store, message) for message in best.values()} == {None}
    assert sorted(target.ids()) == sorted([*once.values(), *best.values()])


def test_the_setting_ends_a_call_whose_message_gives_no_time(system: System, target: ScriptedTarget):
    """A message that gives no time of its own has that of the settings: its call fails by timeout after it."""
    system.dispatcher(**WAITS | {"AP4R_TIMEOUT_SECONDS": "1"})
    [message] = system.send("/work?answer=never")
    found = wait_until(lambda: _settled(system, message), "it is settled")
    assert found == Found("scheduled", attempt=1, failures=1, crashes=0)
    assert storefile.failed_attempts(system.store, message) == [(1, "timeout", None)]


def test_success_is_any_2xx(system: System, target: ScriptedTarget):
    """200, 201 and 204 deliver; nothing is left of the message but that it was put."""
    system.dispatcher(**WAITS)
    sent = system.send(*[f"/work?answer={answer}" for answer in DELIVERED])
    system.wait_until_empty()
    assert sorted(target.ids()) == sorted(sent)
    assert storefile.count(system.store) == storefile.bodies(system.store) == 0


def test_refused_and_unreachable_cost_nothing(system: System):
    """Where no connection comes about no call was made: the message stays ready with its counters at zero."""
    stuck = StuckPort()
    with refusing_port() as port:
        dispatcher = system.dispatcher(**WAITS | {"AP4R_CONNECT_TIMEOUT_SECONDS": "1"})
        urls = (f"http://127.0.0.1:{port}/work", f"{stuck.url}/work", "http://no-such-host.invalid/work")
        sent = [*system.send(*urls), *system.send(*urls, delivery="once")]
        for reason in ("connect failed", "connect timeout", "name not found"):
            dispatcher.wait_for_output(reason)
        # Each is tried again and again meanwhile, and a claim counts the attempt until it is given back.
        for message in sent:
            wait_until(
                lambda message=message: storefile.look_for(system.store, message) == Found("ready", 0, 0, 0),
                f"{message} is given back",
                otherwise=lambda message=message: str(storefile.look_for(system.store, message)),
            )
    stuck.close()


def test_keep_alive_and_what_the_target_receives(system: System, target: ScriptedTarget):
    """Calls go over persistent connections and carry the message's id, queue, attempt and own headers."""
    system.dispatcher("--concurrency", "1")
    sent = system.send(*["/work?answer=200"] * 20, headers={"X-Colour": "blue"}, queue="queue.told")
    system.wait_until_empty()
    assert len({request.connection for request in target.requests}) <= 2
    first = target.requests_for(sent[0])[0]
    told = {name: first.headers.get(name) for name in ("ap4r-queue", "ap4r-attempt", "x-colour", "idempotency-key")}
    assert told == {
        "ap4r-queue": "queue.told",
        "ap4r-attempt": "1",
        "x-colour": "blue",
        "idempotency-key": f'"{sent[0]}"',
    }
    assert first.headers["user-agent"].startswith("ap4r/")
    assert (first.method, first.path, first.body) == ("POST", "/work?answer=200", b"number=0")
