"""The dispatcher and the protocols: faults, WSDLs that arrive or do not, without delay for other messages."""

from __future__ import annotations

import dataclasses
import re

import pytest

from ap4r.describe.describe import describe_message
from ap4r.dispatcher.wsdl.cache import FRESH_SECONDS, KEPT_SECONDS
from ap4r.events.events import TargetHeld
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Reason
from ap4r.settings.settings import Settings
from tests.support.wsdl import DONE, WSDL
from tests.unit.dispatcher.world import World, http

FAULT = (
    b"<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>%d</int></value></member>"
    b"<member><name>faultString</name><value>no</value></member></struct></value></fault></methodResponse>"
)


def message(path="/call", params=None, **options):
    """Describe a message; its options are the protocol's."""
    own = {name: options.pop(name) for name in ("protocol", "action", "delivery") if name in options}
    return describe_message(path, params, **own, options=options, limits=Settings())


def soap(path="/call", params=None, wsdl="/wsdl", **options):
    """Describe a message that waits for a WSDL."""
    return message(path, {"id": 5} if params is None else params, protocol="soap", action="Go", wsdl=wsdl, **options)


def world() -> World:
    """A world whose application serves a WSDL and is called by SOAP."""
    made = World(
        dataclasses.replace(
            Settings(bell="none", listen="none"),
            max_deliveries=3,
            max_deliveries_client_error=2,
            client_error_seconds=0.0,
        )
    )
    made.targets.scripts["/wsdl"] = http(200, WSDL.format(more="").encode())
    made.targets.scripts["/call"] = http(200, DONE)
    return made.start()


def test_a_fault_is_a_failure_though_its_status_is_200():
    """Its code and text are kept; the caller's fault dies sooner than the server's."""
    for code, reason, calls in ((4, Reason.FAULT, 3), (-32601, Reason.CLIENT_FAULT, 2)):
        here = world()
        here.targets.scripts["/call"] = http(200, FAULT % code)
        sent = message(params=[1], protocol="xmlrpc", action="a")
        here.put(sent)
        here.pass_time(60, step=0.05)
        record = here.database.records[sent.id]
        assert (record.state, here.targets.paths()) == ("dead", ["/call"] * calls)
        [letter] = here.store.dead()
        assert (letter.reason, letter.detail) == (reason, f"fault {code}: no")


def test_a_fault_in_a_200_says_what_is_to_follow():
    """`Ap4r-Retry: no` ends it, and Retry-After is obeyed, as with any other failure."""
    here = world()
    here.targets.scripts["/call"] = http(200, FAULT % 4, "Ap4r-Retry: no")
    sent = message(params=[1], protocol="xmlrpc", action="a")
    here.put(sent)
    here.pass_time(60, step=0.05)
    assert (here.state_of(sent), here.targets.paths()) == ("dead", ["/call"])
    here.targets.scripts["/call"] = http(200, FAULT % 4, "Retry-After: 20")
    here.put(message(params=[1], protocol="xmlrpc", action="a"))
    here.pass_time(19)
    assert here.targets.paths() == ["/call"] * 2
    here.pass_time(20)
    assert here.targets.paths() == ["/call"] * 3


def test_a_success_asks_for_nothing():
    """What a 200 that is one says of later is not obeyed: there is no later, and its target is well."""
    here = world()
    here.targets.scripts["/call"] = http(200, b"ok", "Retry-After: 20", "Ap4r-Retry: no")
    here.put(message(), message())
    here.pass_time(0.5)
    assert here.database.records == {}
    assert TargetHeld not in {type(event) for event in here.events}


def test_the_original_success_rule_is_for_http_only():
    """A protocol decides itself what success is; the body need not be "true"."""
    here = World(Settings(bell="none", listen="none", success="ap4r")).start()
    here.targets.scripts["/call"] = http(200, b"<methodResponse><params/></methodResponse>")
    sent = message(params=[1], protocol="xmlrpc", action="a")
    here.put(sent)
    here.pass_time(0.1)
    assert here.state_of(sent) is None


def test_a_large_answer_is_read_elsewhere():
    """With the same reading; the time that it takes is not the target's, and what cannot be read is reported."""
    blanks = " " * 10_000
    for body, problem, reason in (
        (b"<methodResponse><params/></methodResponse>", None, None),
        (FAULT % -32601, None, Reason.CLIENT_FAULT),
        (b"<methodResponse><params/></methodResponse>", "it took longer than 5 s", Reason.BAD_RESPONSE),
    ):
        here = world()
        here.computing.problem = problem
        here.targets.scripts["/call"] = http(200, body + blanks.encode())
        sent = message(params=[1], protocol="xmlrpc", action="a", delivery="once")
        here.put(sent)
        here.pass_time(1)
        assert here.computing.calls == 1
        assert [letter.reason for letter in here.store.dead()] == ([] if reason is None else [reason])
        if problem is not None:
            assert problem in here.store.dead()[0].detail


def test_a_wsdl_is_fetched_once_and_kept_for_a_while():
    """The envelope is the WSDL's, the call goes to the target; a WSDL that is gone later does no harm."""
    here = world()
    for _ in range(3):
        here.put(soap())
        here.pass_time(0.5)
    assert here.targets.paths() == ["/wsdl", "/call", "/call", "/call"]
    call = here.targets.received[1]
    assert b"<ns0:id>5</ns0:id>" in call.body
    assert call.headers["soapaction"] == '"urn:go"'
    assert call.headers["content-type"] == "text/xml; charset=utf-8"
    here.targets.scripts["/wsdl"] = http(404)
    here.pass_time(KEPT_SECONDS, step=1.0)
    here.put(soap())
    here.pass_time(0.5)
    assert here.targets.paths()[4:] == ["/wsdl", "/call"]
    assert here.database.records == {}


def test_messages_at_once_share_one_fetch():
    """However many wait for the same WSDL."""
    here = world()
    here.put(*(soap() for _ in range(10)))
    here.pass_time(0.5)
    assert here.targets.paths() == ["/wsdl", *["/call"] * 10]


@pytest.mark.parametrize("wsdl", ["/types", "/bomb", "/file", "/many", "/broken"])
def test_a_wsdl_that_can_never_be_read_makes_a_dead_letter_at_once(wsdl):
    """It says why; the server is not held, and its other messages go on."""
    here = world()
    scripts = here.targets.scripts
    scripts["/types"] = http(200, re.sub("<w:service.*</w:service>", "", WSDL.format(more="")).encode())
    scripts["/bomb"] = http(200, b'<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>' + WSDL.format(more="").encode())
    scripts["/file"] = http(200, WSDL.format(more='<x:include schemaLocation="file:///etc/passwd"/>').encode())
    for n in range(100):
        more = f'<x:include schemaLocation="/many?{n}"/>'
        text = f'<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t">{more}</x:schema>'
        scripts[f"/many?{n - 1}" if n else "/many"] = http(200, (text if n else WSDL.format(more=more)).encode())
    scripts["/broken"] = http(200, WSDL.format(more="").encode()[:-1])
    here.put(soap(wsdl=wsdl), soap(wsdl=wsdl, delivery="once"), message("/other"))
    here.pass_time(10, step=0.05)
    assert here.told(TargetHeld) == []
    assert "/other" in here.targets.paths()
    assert [(letter.reason, letter.called) for letter in here.store.dead()] == [(Reason.BAD_DESCRIPTION, False)] * 2
    problem = {"/types": "no services", "/bomb": "wsdl_dtd", "/file": "file:", "/many": "too many", "/broken": "Syntax"}
    assert problem[wsdl] in here.store.dead()[0].detail


@pytest.mark.parametrize("wsdl", ["/gone", "/html", "/page", "/empty", "/costly"])
def test_a_useless_wsdl_delays_no_other_message(wsdl):
    """The message waits for itself and counts no failure, even with `once`; its server is not held."""
    here = world()
    scripts = here.targets.scripts
    scripts["/gone"] = http(404)
    scripts["/html"] = http(200, b"<html><br></html>")
    scripts["/page"] = http(200, b"<html><body><p>Back in five minutes</p></body></html>")
    scripts["/empty"] = http(200, b"")
    if wsdl == "/costly":
        here.computing.problem = "it took longer than 10 s"
    waiting, once, other = soap(wsdl=wsdl), soap(wsdl=wsdl, delivery="once"), message("/other")
    here.put(waiting, once, other)
    here.pass_time(30, step=0.05)
    assert here.told(TargetHeld) == []
    assert "/other" in here.targets.paths()
    assert "/call" not in here.targets.paths()
    for sent in (waiting, once):
        record = here.database.records[sent.id]
        assert record.state in ("scheduled", "ready", "leased")
        assert record.failures == 0
    if wsdl != "/html":
        here.computing.problem = None
        scripts[wsdl] = http(200, WSDL.format(more="").encode())
        here.pass_time(400, step=0.1)
        assert here.targets.paths().count("/call") == 2
        assert here.database.records == {}


def test_what_does_not_fit_its_wsdl_is_dead_at_once():
    """No repeat can mend it; it was never called."""
    here = world()
    for params in ({"id": 5, "more": 1}, {"other": 1}, [1, 2, 3]):
        sent = soap(params=params)
        here.put(sent)
        here.pass_time(0.5)
        letter = next(letter for letter in here.store.dead() if letter.message.id == sent.id)
        assert (letter.reason, letter.called) == (Reason.NOT_ENCODABLE, False)
        assert "does not fit the WSDL" in letter.detail
    assert here.targets.paths() == ["/wsdl"]


def test_a_wsdl_is_fetched_again_for_params_that_do_not_fit_the_old_one():
    """So a new operation can be called as soon as its WSDL is there; a flood of misfits asks now and then only."""
    here = world()
    new = here.targets.scripts["/wsdl"]
    here.targets.scripts["/wsdl"] = http(
        200, WSDL.format(more="").replace('operation name="Go"', 'operation name="Old"').encode()
    )
    for _ in range(4):
        here.put(soap(), soap())
        here.pass_time(FRESH_SECONDS / 3)
    assert here.targets.paths() == ["/wsdl", "/wsdl"]
    here.targets.scripts["/wsdl"] = http(404)
    here.put(soap())
    here.pass_time(FRESH_SECONDS)
    assert [letter.reason for letter in here.store.dead()] == [Reason.NOT_ENCODABLE] * 9
    here.targets.scripts["/wsdl"] = new
    here.put(soap())
    here.pass_time(0.5)
    assert here.targets.paths()[-2:] == ["/wsdl", "/call"]


def test_a_protocol_that_is_not_installed_here_makes_a_dead_letter():
    """It names the protocol."""
    here = world()
    sent = message()._replace(protocol="shout", delivery=Delivery.REPEATED)
    here.put(sent)
    here.pass_time(0.5)
    [letter] = here.store.dead()
    assert (letter.reason, letter.called) == (Reason.BAD_TARGET, False)
    assert "shout" in letter.detail


def test_a_stop_gives_back_what_waits_for_its_wsdl():
    """Uncalled, with its attempt."""
    here = world()
    here.targets.scripts["/wsdl"] = []
    sent = soap()
    here.put(sent)
    here.pass_time(0.5)
    assert here.state_of(sent) == "leased"
    here.dispatcher.stopService()
    here.dispatcher.end_grace()
    here.pass_time(1)
    record = here.database.records[sent.id]
    assert (record.state, record.attempt) == ("ready", 0)
