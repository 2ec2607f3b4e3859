"""Where the documents of a WSDL are fetched, and what their servers are shown."""

from __future__ import annotations

import dataclasses

import pytest

from ap4r.describe.describe import describe_message
from ap4r.dispatcher.http_client.address_guard import AddressRefused
from ap4r.errors import TargetRefused
from ap4r.outcome.outcome import Reason
from ap4r.settings.load import parse_settings
from tests.support.wsdl import DONE, SCHEMA, WSDL
from tests.unit.dispatcher.world import World, http

TOKEN = "Bearer tok-1"


def settings(token="tok-1", **table):
    """Return settings with an upstream `billing` that wants to be shown a token."""
    billing = {"servers": ["https://inner.test/base"], "auth": "bearer:env:TOKEN", **table}
    table = {"bell": "none", "listen": "none", "upstreams": {"billing": billing}}
    return parse_settings(table, {}, {}, "/nowhere", lambda reference: token)


def world(includes=(), **table):
    """A world in which a WSDL that refers to others is at every server's /base/svc?wsdl."""
    made = World(settings(**table))
    more = "".join(f'<x:include schemaLocation="{url}"/>' for url in includes)
    wsdl = http(200, WSDL.format(more=more).encode())
    made.targets.scripts = dict.fromkeys(("/base/svc?wsdl", "/svc?wsdl"), wsdl)
    made.targets.scripts |= dict.fromkeys(("/base/call", "/call"), http(200, DONE))
    for path in ("/own.xsd", "/base/own.xsd", "/other.xsd"):
        made.targets.scripts[path] = http(200, SCHEMA)
    return made.start()


def send(here, wsdl, to="billing:/call"):
    """Send a message that waits for the WSDL; return its requests as server, path and what was shown."""
    before = len(here.targets.received)
    options = {"protocol": "soap", "action": "Go", "options": {"wsdl": wsdl}}
    here.put(describe_message(to, {"id": 5}, **options, limits=here.settings))
    here.pass_time(1)
    return [
        (got.server, got.path, got.headers.get("authorization")) for got in here.targets.received[before:]
    ]  # fmt: skip


def test_an_upstreams_own_documents_are_fetched_as_its_calls_are_made():
    """With its Authorization, also what they refer to there; another origin is shown nothing."""
    includes = (
        "own.xsd", "https://inner.test/own.xsd", "http://inner.test/other.xsd", "https://inner.test:444/other.xsd",
        "https://inner.test.evil.test/other.xsd", "//evil.test/other.xsd",
    )  # fmt: skip
    here = world(includes)
    assert send(here, "billing:/svc?wsdl") == [
        ("inner.test:443", "/base/svc?wsdl", TOKEN),
        ("inner.test:443", "/base/own.xsd", TOKEN),
        ("inner.test:443", "/own.xsd", TOKEN),
        ("inner.test:80", "/other.xsd", None),
        ("inner.test:444", "/other.xsd", None),
        ("inner.test.evil.test:443", "/other.xsd", None),
        ("evil.test:443", "/other.xsd", None),
        ("inner.test:443", "/base/call", TOKEN),
    ]


def test_a_description_elsewhere_is_shown_nothing():
    """Though the call goes to the upstream; and what it refers to there is not asked for with the upstream's token."""
    here = world(["https://inner.test/own.xsd"])
    assert send(here, "https://evil.test/svc?wsdl") == [
        ("evil.test:443", "/svc?wsdl", None),
        ("inner.test:443", "/own.xsd", None),
        ("inner.test:443", "/base/call", TOKEN),
    ]


def test_an_absolute_url_belongs_to_the_upstream_that_is_called():
    """A message that goes elsewhere gets the same document as an absolute URL, and both are kept apart."""
    here = world()
    wsdl = "https://inner.test/base/svc?wsdl"
    assert send(here, wsdl) == [("inner.test:443", "/base/svc?wsdl", TOKEN), ("inner.test:443", "/base/call", TOKEN)]
    assert send(here, wsdl, to="https://inner.test/base/call") == [
        ("inner.test:443", "/base/svc?wsdl", None),
        ("inner.test:443", "/base/call", None),
    ]


@pytest.mark.parametrize("server", ["http://inner.test:81", "unix:/run/app.sock"])
def test_the_name_that_an_upstream_goes_by_is_its_own(server):
    """What its documents refer to by that name is asked of the server that gave them, and by that name."""
    here = world(
        ["https://shop.example/own.xsd"], servers=[server], host="shop.example", scheme="https"
    )  # fmt: skip
    at = "localhost:80" if server.startswith("unix:") else "inner.test:81"
    assert send(here, "billing:/svc?wsdl") == [(at, path, TOKEN) for path in ("/svc?wsdl", "/own.xsd", "/call")]
    assert {got.headers["host"] for got in here.targets.received} == {"shop.example"}
    assert {got.headers["x-forwarded-proto"] for got in here.targets.received} == {"https"}


@pytest.mark.parametrize("balance", ["least_outstanding", "round_robin", "random_two"])
def test_a_server_that_is_gone_is_passed_over(balance):
    """The next one is asked at once, and serves all of it."""
    here = world(["own.xsd"], servers=["http://a.test", "http://b.test", "http://c.test"], balance=balance)
    here.targets.scripts["/own.xsd"] = http(200, SCHEMA)
    here.targets.refusing = {"a.test:80", "b.test:80"}
    assert {server for server, _, _ in send(here, "billing:/svc?wsdl")} == {"c.test:80"}
    assert here.database.records == {}


def test_a_description_on_an_unknown_upstream_is_refused_in_the_handler():
    """As a target there is."""
    with pytest.raises(TargetRefused, match=r"biling:/svc\?wsdl.*known are app, billing"):
        send(world(), "biling:/svc?wsdl")


@pytest.mark.parametrize("wsdl", ["http://evil.test/svc?wsdl", "billing:/svc?wsdl"])
def test_a_document_at_a_refused_address_makes_a_dead_letter(wsdl):
    """At once and uncalled, with the reason that a call there would have; also where it is only referred to."""
    here = world(["http://evil.test/own.xsd"])
    here.targets.failing["evil.test:80"] = AddressRefused("evil.test is 169.254.169.254: metadata")
    send(here, wsdl)
    [letter] = here.store.dead()
    assert (letter.reason, letter.called) == (Reason.REFUSED_ADDRESS, False)
    assert "evil.test is 169.254.169.254" in letter.detail
    assert "/base/call" not in here.targets.paths()


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (
            '<w:import namespace="urn:x" location="svc?wsdl"/>',
            "",
            "http://a.test/svc?wsdl imports itself, under another",
        ),
        ('<w:import location="svc?wsdl"/>', "", "http://a.test/svc?wsdl imports itself, under another"),
        (
            '<w:import namespace="urn:x" location="other.wsdl"/>',
            '<w:import namespace="urn:y" location="svc?wsdl"/>',
            "http://a.test/svc?wsdl imports itself by way of http://a.test/other.wsdl, under another",
        ),
        ('<w:import namespace="urn:t" location="svc?wsdl"/>', "", None),
        (
            '<w:import namespace="urn:t" location="other.wsdl"/>',
            '<w:import namespace="urn:t" location="svc?wsdl"/>',
            None,
        ),
    ],
)
def test_a_description_that_imports_itself(first, second, says):
    """Under another namespace it can never be read, and a dead letter names it; under its own it is read once."""
    here = world()
    wsdl = WSDL.format(more="")
    here.targets.scripts["/svc?wsdl"] = http(200, wsdl.replace("<w:types>", f"{first}<w:types>").encode())
    other = '<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn:t">{}</w:definitions>'
    here.targets.scripts["/other.wsdl"] = http(200, other.format(second).encode())
    send(here, "http://a.test/svc?wsdl")
    if says is None:
        assert here.store.dead() == [] and "/base/call" in here.targets.paths()
        return
    [letter] = here.store.dead()
    assert (letter.reason, letter.called) == (Reason.BAD_DESCRIPTION, False)
    assert says in letter.detail


def test_no_server_at_all_is_no_description():
    """Also where the upstream is not in the settings any more; the message waits."""
    here = world()
    here.dispatcher.reload(dataclasses.replace(here.settings, upstreams=()))
    assert send(here, "billing:/svc?wsdl") == []
    [record] = here.database.records.values()
    assert (record.state, record.failures) == ("scheduled", 0)


def test_a_token_is_read_again_with_the_settings():
    """After SIGHUP documents are asked for with the new one."""
    here = world()
    send(here, "billing:/svc?wsdl")
    here.dispatcher.reload(settings("tok-2"))
    here.targets.scripts["/base/svc?wsdl=2"] = here.targets.scripts["/base/svc?wsdl"]
    assert send(here, "billing:/svc?wsdl=2")[0] == ("inner.test:443", "/base/svc?wsdl=2", "Bearer tok-2")
