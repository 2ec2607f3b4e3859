"""check: servers are asked now and then whether they want calls."""

from __future__ import annotations

import dataclasses

from ap4r.events.events import ServerLeftOut, ServerTakenBack
from ap4r.settings.load import parse_settings
from tests.support.factories import messages
from tests.unit.dispatcher.world import World, http


def settings(**more):
    """Return settings with two servers that are checked each second."""
    table = {"servers": ["http://a.test", "http://b.test"], "check": "/healthz", "check_seconds": 1, **more}
    return parse_settings(
        {"bell": "none", "listen": "none", "upstreams": {"web": table}}, {}, {}, "/nowhere", lambda reference: "tok-1"
    )


def sick(server):
    """Script a check that one server fails."""
    return lambda got: http(503 if got.server == server else 204, b"")


def called(here, path="/x"):
    """Return the servers of the calls."""
    return [got.server for got in here.targets.received if got.path == path]


def test_a_server_is_left_out_while_its_check_fails():
    """The others take its share; it comes back with a passed check, and both are logged."""
    here = World(settings())
    here.targets.scripts["/healthz"] = sick("b.test:80")
    here.start()
    here.pass_time(0.1)
    here.put(*messages(20, url="/x", upstream="web"))
    here.pass_time(0.5)
    assert called(here) == ["a.test:80"] * 20
    assert [(told.upstream, told.server) for told in here.told(ServerLeftOut)] == [("web", "http://b.test")]
    here.targets.scripts["/healthz"] = http(204, b"")
    here.pass_time(1)
    assert [told.server for told in here.told(ServerTakenBack)] == ["http://b.test"]
    here.pass_time(15)
    here.put(*messages(20, url="/x", upstream="web"))
    here.pass_time(0.5)
    assert called(here).count("b.test:80") == 10


def test_messages_wait_while_all_checks_fail():
    """At no cost, and are called as soon as one passes."""
    here = World(settings())
    here.targets.scripts["/healthz"] = http(500)
    here.start()
    here.pass_time(0.1)
    here.put(*messages(3, url="/x", upstream="web"))
    here.pass_time(60, step=0.05)
    assert called(here) == []
    assert {(record.attempt, record.failures) for record in here.database.records.values()} == {(0, 0)}
    here.targets.scripts["/healthz"] = http(204, b"")
    here.pass_time(2)
    assert len(called(here)) == 3


def test_a_check_that_hangs_is_asked_once():
    """No heap of questions grows at a server that does not answer; it counts as failed."""
    here = World(settings())
    here.targets.scripts["/healthz"] = lambda got: [] if got.server == "b.test:80" else http(204, b"")
    here.start()
    here.pass_time(10.05, step=0.01)
    assert called(here, "/healthz").count("b.test:80") <= 10
    assert [told.server for told in here.told(ServerLeftOut)] == ["http://b.test"]


def test_a_check_is_asked_as_the_upstream_is_called():
    """By its name, and with its credentials."""
    here = World(settings(host="shop.example", scheme="https", auth="bearer:env:TOKEN")).start()
    here.pass_time(0.1)
    asked = [got.headers for got in here.targets.received]
    assert len(asked) == 2
    for headers in asked:
        assert (headers["host"], headers["x-forwarded-proto"]) == ("shop.example", "https")
        assert headers["authorization"] == "Bearer tok-1"


def test_without_checks_nothing_is_held_against_a_server():
    """A reload that takes the check out takes its findings out too."""
    here = World(settings())
    here.targets.scripts["/healthz"] = sick("b.test:80")
    here.start()
    here.pass_time(0.1)
    unchecked = tuple(dataclasses.replace(one, check="") for one in here.settings.upstreams)
    here.dispatcher.reload(dataclasses.replace(here.settings, upstreams=unchecked))
    here.put(*messages(10, url="/x", upstream="web"))
    here.pass_time(0.5)
    assert called(here).count("b.test:80") == 5
