"""health: GET /healthz."""

from __future__ import annotations

import json

import pytest
from twisted.web.test.requesthelper import DummyRequest

from ap4r.dispatcher.http_server.health import FIGURES_SECONDS, Healthz, StoreFigures
from ap4r.errors import StoreUnavailable
from tests.support.factories import message
from tests.unit.dispatcher.world import http


@pytest.fixture
def page(world):
    """Return a way to ask for the page."""
    figures = [StoreFigures(worker.store, world.clock) for worker in world.dispatcher.workers]
    resource = Healthz(world.dispatcher.facts, figures)

    def ask():
        request = DummyRequest([b"healthz"])
        request.method = b"GET"
        resource.render(request)
        return request

    return ask


def answer(request):
    """Return status and facts."""
    return request.responseCode, json.loads(b"".join(request.written))


def test_all_is_well(world, page):
    """200, and what a person wants to know: who, where, what waits, what is held."""
    world.targets.scripts["/slow"] = [9.0, *http(200)]
    world.put(message(url="/slow"), message(delay_seconds=100))
    world.pass_time(0.1)
    status, facts = answer(page())
    assert status == 200
    assert facts["ok"]
    assert facts["in_flight"] == 1
    assert facts["stores"][0]["due"] == {
        "oldest_seconds": 0.0,
        "ready": 0,
        "scheduled": 1,
        "leased": 1,
        "dead": 0,
        "at_least": [],
    }


def test_what_waits_is_reported(world, page):
    """How much is due, and for how long the oldest."""
    world.targets.refusing.add("127.0.0.1:8000")
    world.put(message(), message())
    world.pass_time(10)
    _, facts = answer(page())
    assert facts["stores"][0]["due"]["ready"] == 2
    assert facts["stores"][0]["due"]["oldest_seconds"] == pytest.approx(10, abs=0.1)
    assert list(facts["held"]) == ["app"]


def test_asking_often_does_not_burden_the_store(world, page):
    """The store is asked once in a while, however many ask."""
    world.store.calls.clear()
    for _ in range(100):
        assert answer(page())[0] == 200
    assert world.store.calls["status"] == 1
    world.pass_time(FIGURES_SECONDS + 0.1)
    page()
    assert world.store.calls["status"] == 2


def test_all_requests_during_a_slow_store_call_are_answered(world, page):
    """One question, and an answer for each."""
    world.workers.seconds = 0.5
    requests = [page() for _ in range(5)]
    assert [request.written for request in requests] == [[]] * 5
    world.pass_time(1)
    assert [answer(request)[0] for request in requests] == [200] * 5


def test_who_has_left_is_not_answered(world, page):
    """A client that went away in the meantime is no error."""
    world.workers.seconds = 0.5
    request = page()
    request.processingFailed(ConnectionError())
    world.pass_time(1)
    assert request.written == []


def test_a_store_that_does_not_answer_is_not_well(world, page):
    """503, and what is known without it."""
    world.store.failing = StoreUnavailable("memory", "away")
    status, facts = answer(page())
    assert status == 503
    assert facts["stores"][0]["due"] is None
    assert facts["stores"][0]["owner"] == "owner-1"


def test_a_loop_that_does_not_turn_is_not_well(world, page):
    """503 once claims have failed for long; well again when one succeeds."""

    def fail(*args, **kwargs):
        raise StoreUnavailable("memory", "disk full")

    world.store.claim = fail
    world.ring()
    world.pass_time(20, step=0.1)
    assert answer(page())[0] == 503
    del world.store.claim
    world.pass_time(10, step=0.1)
    assert answer(page())[0] == 200


def test_a_dispatcher_that_stops_is_not_well(world, page):
    """Nothing new is taken: a balancer may look elsewhere."""
    world.targets.scripts["/slow"] = [9.0, *http(200)]
    world.put(message(url="/slow"))
    world.pass_time(0.1)
    world.dispatcher.stopService()
    status, facts = answer(page())
    assert (status, facts["stores"][0]["state"]) == (503, "stopping")
    world.pass_time(10)
