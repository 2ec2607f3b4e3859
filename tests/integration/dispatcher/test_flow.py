"""Flow control in real dispatchers: one job that says "later", and one server that says nothing, delay no other."""

from __future__ import annotations

from tests.support import storefile
from tests.support.probe import wait_until
from tests.support.system import System
from tests.support.target import ScriptedTarget

BUSY = "/busy?answer=503:20"


def calls(target: ScriptedTarget, path: str) -> int:
    return sum(request.path.startswith(path) for request in target.requests)


def test_one_job_that_says_later_holds_no_other_of_its_application(system: System, target: ScriptedTarget):
    """Two dispatchers: each finds out for itself, the other queues go on, and status and doctor name what is held."""
    for name in ("one", "two"):
        system.dispatcher(name=name)
    system.send(*[BUSY] * 6)
    wait_until(lambda: calls(target, "/busy"), "it was called")
    for number in range(1, 6):
        system.send("/first", "/second")
        wait_until(
            lambda number=number: calls(target, "/first") == calls(target, "/second") == number, "the others are called"
        )

    def held() -> list[dict[str, object]]:
        return [one for dispatcher in system.status()["dispatchers"] for one in dispatcher["held"]]

    wait_until(held, "the held queue is shown")
    assert {(one["queue"], one["origin"], one["why"]) for one in held()} == {("queue.busy", "app", "slow down 503")}
    told = system.processes.ap4r("doctor", AP4R_STORE=system.url)
    assert told.returncode == 1
    assert "messages of queue.busy to app have been held for" in told.stdout
    assert "delivered at once" not in told.stdout


def test_a_server_that_never_answers_delays_no_other(system: System, target: ScriptedTarget):
    """It has all calls that a dispatcher makes at once, and more messages wait for it."""
    other = target.door("other")
    system.dispatcher("--concurrency", "8", AP4R_TIMEOUT_SECONDS="200")
    system.send(*["/hang?answer=hold_long:gate"] * 30)
    wait_until(lambda: calls(target, "/hang") == 8, "it has all calls")
    for number in range(1, 4):
        system.send(f"{other}/b")
        wait_until(lambda number=number: calls(target, "/b") == number, "the other is called")
    assert calls(target, "/hang") == 8
    assert storefile.count(system.store, "ready") == 22
    target.open("gate")
    system.wait_until_empty()
    assert calls(target, "/hang") == 30
