"""Where requests to the intake are read: what may take long is never read in the reactor."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import fail

from ap4r.dispatcher.compute.child import Stopping
from ap4r.dispatcher.http_server.intake.json import RequestRefused
from ap4r.dispatcher.http_server.intake.request_reading import IntakeReading, Read, is_quick
from ap4r.dispatcher.http_server.problem import Refusal
from ap4r.settings.settings import Settings
from tests.unit.dispatcher.world import ComputedHere

OWN = "http://127.0.0.1:7438/self"


def reading(computing=None, **settings):
    """Create the reading of an intake, whose processes are this one."""
    return IntakeReading(Settings(**settings), lambda target: target.url == OWN, computing or ComputedHere())


def read(made, value):
    """Read a value both ways; return what the reactor read, and what a process did."""
    body, told = value if isinstance(value, bytes) else json.dumps(value).encode(), []
    try:
        quick = made.read_quickly(body, None, None)
    except RequestRefused as refused:
        quick = refused.refusal
    made.read("caller", body, None, None, told.append)
    return quick, told[0]


@pytest.mark.parametrize(
    "value",
    [
        {"target": "/x", "params": {"id": 7}},
        {"target": "/x", "text": "a" * 200_000},
        {"target": "/x", "base64": "AAAA" * 50_000},
        {"target": "/x", "format": "xml", "params": {"a": 1}},
        {"target": "/x", "protocol": "xmlrpc", "action": "a", "params": [1]},
        [{"target": "/x", "params": {"id": n}} for n in range(100)],
    ],
)
def test_small_and_plain_requests_are_read_at_once(value):
    """No process is asked, and none is needed for what most callers send."""
    quick, elsewhere = read(reading(), value)
    assert isinstance(quick, Read)
    assert [one._replace(id="", trace_id=None) for one in quick.messages] == [
        one._replace(id="", trace_id=None) for one in elsewhere.messages
    ]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"target": "/x", "json": list(range(2_000))}).encode(),
        json.dumps({"target": "/x", "text": "a" * 300_000}).encode(),
        b'{"target":"/x","format":"yaml","params":{"a":1}}',
        b'{"target":"/x","format":"\\u0079aml","params":{"a":1}}',
        json.dumps({"target": "/x", "format": "xml", "params": {"a": "x" * 5_000}}).encode(),
        json.dumps({"target": "/x", "params": {"a": "x" * 5_000}}).encode().replace(b'"p', b'"\\u0070'),
        json.dumps({"target": "/x", "json": [10**4_000] * 10}).encode(),
        b"{" + b",".join(b'"%d":0' % n for n in range(55_000)) + b',"54999":0}',
    ],
)
def test_large_and_strange_requests_are_read_elsewhere(body):
    """Whatever Python takes long for: many values, much text, formats that are slow, numbers of thousands of digits."""
    assert not is_quick(body)
    assert reading().read_quickly(body, None, None) is None


def test_what_grows_while_it_is_written_is_written_elsewhere():
    """The reactor stops at its own limit, and the message is not refused for that."""
    made = reading()
    quick, elsewhere = read(made, {"target": "/x", "params": {"k" * 10_000: [1] * 50}})
    assert quick is None
    assert len(elsewhere.messages[0].body) > 500_000
    assert len(read(reading(max_body_bytes=1_000), {"target": "/x", "text": "a" * 1_001})) == 2
    refused, _ = read(reading(max_body_bytes=1_000), {"target": "/x", "text": "a" * 1_001})
    assert refused.error == "too_large"


def test_both_ways_refuse_alike():
    """With the same words and places, the dispatcher's own address included."""
    for value in (
        b"{",
        [{"target": "/x"}, {"target": OWN}],
        {"target": OWN},
        {"target": "/x", "max_deliveries": 0},
        [],
        {"target": "nowhere:/x"},
    ):
        quick, elsewhere = read(reading(), value)
        assert isinstance(quick, Refusal)
        assert (quick.status, quick.error, quick.where, quick.message) == (
            *(elsewhere.status, elsewhere.error, elsewhere.where, elsewhere.message),
        )


def test_what_takes_too_long_is_refused_and_a_stop_asks_to_come_again():
    """Nothing was stored in either case."""
    computing = ComputedHere()
    computing.problem = "it took longer than 10 s"
    assert read(reading(computing), {"target": "/x"})[1].error == "not_encodable"
    computing.run = lambda key, call, seconds: fail(Stopping("the dispatcher stops"))
    assert read(reading(computing), {"target": "/x"})[1].status == 503
