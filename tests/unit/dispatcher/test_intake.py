"""Requests to the intake, read into messages or refused with the place and the reason."""

from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.describe.describe import describe_message
from ap4r.describe.message_json import fields_of
from ap4r.dispatcher.http_server.intake.json import FIELDS, Intake, RequestRefused, id_of_key
from ap4r.dispatcher.http_server.intake.x_ap4r import read_options
from ap4r.dispatcher.http_server.openapi import describe
from ap4r.errors import OptionRefused
from ap4r.message.message import Delivery, new_id
from ap4r.message.target import Target
from ap4r.outcome.response import Answer, Reason, ResponseReading
from ap4r.protocols.registry import find_protocol
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import UpstreamSettings
from tests.support.factories import message

ID = "018f5b0e-0000-7000-8000-000000000001"
BILLING = UpstreamSettings(name="billing", servers=("http://billing.example",))
INTAKE = Intake(Settings(upstreams=(BILLING,)), lambda target: target.url == "http://127.0.0.1:7438/self")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.text() | st.sampled_from(sorted(FIELDS))
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner))
MESSAGES = st.fixed_dictionaries(
    {"target": st.just("/x")}, optional=dict.fromkeys(sorted(FIELDS - {"target"}), SCALARS | st.lists(st.text()))
)


def read(value, **options):
    """Read a JSON value as a request."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return INTAKE.read_json(body, options.get("key"), options.get("traceparent"))[0]


def refusal(value, **options):
    """Return why it is refused."""
    with pytest.raises(RequestRefused) as refused:
        read(value, **options)
    return refused.value.refusal


class TestMessages:
    def test_one_message(self):
        """An object is a message with the fields of async_to."""
        [one] = read(
            {"id": ID, "target": "/search/reindex", "params": {"a": 1}, "delivery": "once", "delay_seconds": 5}
        )
        assert (one.id, one.target, one.body) == (ID, Target("/search/reindex", "app"), b"a=1")
        assert (one.delivery, one.delay_seconds, one.queue) == (Delivery.ONCE, 5.0, "queue.search.reindex")

    def test_a_call_is_written_under_the_id_that_its_caller_chose(self):
        """What is in the body, as JSON-RPC has it, is the message's own id: an answer to it is recognised."""
        call = {"target": "/rpc", "protocol": "jsonrpc", "action": "a", "params": [1]}
        for fields, key in (({"id": ID}, None), ({}, "order-7"), ({}, None)):
            [one] = read({**call, **fields}, key=key)
            assert json.loads(one.body)["id"] == one.id
            answer = Answer(200, {}, json.dumps({"jsonrpc": "2.0", "result": 1, "id": one.id}).encode())
            assert find_protocol("jsonrpc").judge(answer, one) == ResponseReading()
        assert read({**call, "id": ID})[0].id == ID

    @pytest.mark.parametrize("fields", [{}, {"id": ID}])
    @pytest.mark.parametrize("request_id", [7, "seven", ID, None])
    def test_an_answer_has_the_id_of_the_request_that_its_caller_wrote(self, request_id, fields):
        """An answer to a JSON-RPC call that came in written is compared with the id in that call, not another's."""
        call = {"jsonrpc": "2.0", "method": "a", "id": request_id}
        body = base64.b64encode(json.dumps(call).encode()).decode()
        [one] = read({**fields, "target": "/rpc", "protocol": "jsonrpc", "base64": body})

        def judged(answered_id):
            answer = Answer(200, {}, json.dumps({"jsonrpc": "2.0", "result": 1, "id": answered_id}).encode())
            return find_protocol("jsonrpc").judge(answer, one)

        assert judged(request_id) == ResponseReading()
        assert judged("another").reason is Reason.BAD_RESPONSE

    def test_names_that_stand_twice_are_found_among_many(self):
        """The one that does is named, in one look at each."""
        body = "{" + ",".join(f'"{n}":0' for n in range(20_000)) + ',"19999":0}'
        refused = refusal(body.encode())
        assert refused.error == "not_json"
        assert "'19999' occurs twice" in refused.message

    def test_many_headers_are_looked_at_once_each(self):
        """And the size of all is refused as one."""
        headers = {f"x-{n}": "" for n in range(20_000)}
        assert refusal({"target": "/x", "headers": headers}).error == "too_large"

    def test_many_messages(self):
        """An array is several, in their order."""
        assert [one.body for one in read([{"target": "/x", "text": str(n)} for n in range(3)])] == [b"0", b"1", b"2"]

    @pytest.mark.parametrize(
        ("fields", "body", "content_type"),
        [
            ({"params": {"a": [1, 2]}}, b"a[]=1&a[]=2", "application/x-www-form-urlencoded"),
            ({"params": {"a": 1}, "format": "json"}, b'{"a":1}', "application/json"),
            ({"json": {"a": None}}, b'{"a":null}', "application/json"),
            ({"json": "text"}, b'"text"', "application/json"),
            ({"json": None}, b"null", "application/json"),
            ({"text": "Grüße"}, "Grüße".encode(), "text/plain; charset=utf-8"),
            ({"base64": "AP8="}, b"\0\xff", "application/octet-stream"),
            ({"base64": "AP8=", "headers": {"Content-Type": "image/png"}}, b"\0\xff", "image/png"),
            ({}, b"", None),
        ],
    )
    def test_bodies(self, fields, body, content_type):
        """A body is params as async_to has them, a JSON value, a text or bytes."""
        [one] = read({"target": "/x", **fields})
        assert (one.body, dict(one.headers).get("Content-Type")) == (body, content_type)

    def test_null_is_as_good_as_absent(self):
        """A field that is null has its default."""
        [one] = read({"target": "/x", **dict.fromkeys(FIELDS - {"target", "json"})})
        assert one._replace(id=ID, trace_id=None) == message("queue.x", url="/x")._replace(id=ID)

    @pytest.mark.parametrize("name", ["params", "text", "base64"])
    def test_a_body_that_is_null_leaves_room_for_another(self, name):
        """Only one that is there counts; json alone may be null."""
        assert read({"target": "/x", name: None, "json": None})[0].body == b"null"
        assert read({"target": "/x", name: None})[0].body == b""

    @pytest.mark.parametrize("name", ["priority", "max_deliveries"])
    def test_a_whole_number_may_have_a_point(self, name):
        """JSON has one kind of number, and its schemas take 3.0 for an integer."""
        whole, pointed = (read({"target": "/x", "id": ID, "trace_id": "a" * 32, name: value})[0] for value in (3, 3.0))
        assert whole == pointed
        assert refusal({"target": "/x", name: 3.5}).where == name

    def test_whole_numbers_keep_their_digits(self):
        """A number that no double can hold is sent as it came."""
        assert read(b'{"target": "/x", "json": 12345678901234567890123}')[0].body == b"12345678901234567890123"

    def test_an_upstream_must_be_known(self):
        """What the settings do not have is refused where it is sent, with the names of those that there are."""
        assert read({"target": {"upstream": "billing", "path": "/x"}})[0].target == Target("/x", "billing")
        told = refusal({"target": {"upstream": "nope", "path": "/x"}})
        assert (told.status, told.where) == (422, "target")
        assert "billing" in told.message

    def test_an_instant_may_be_text(self):
        """deliver_at takes Unix seconds, or RFC 3339."""
        assert read({"target": "/x", "deliver_at": "2030-01-01T00:00:00Z"})[0].deliver_at == 1893456000.0
        assert read({"target": "/x", "deliver_at": 1893456000})[0].deliver_at == 1893456000.0

    def test_the_trace_goes_on(self):
        """Messages belong to the trace of the request."""
        trace = "0af7651916cd43dd8448eb211c80319c"
        assert read({"target": "/x"}, traceparent=f"00-{trace}-b7ad6b7169203331-01")[0].trace_id == trace

    def test_keys_make_ids(self):
        """The same Idempotency-Key gives the same ids, another one others."""
        one, two = read([{"target": "/x"}, {"target": "/y"}], key="order-7")
        assert [each.id for each in read([{"target": "/x"}, {"target": "/y"}], key="order-7")] == [one.id, two.id]
        assert one.id != two.id != read([{"target": "/x"}], key="order-8")[0].id
        assert read({"target": "/x"}, key=f'"{ID}"')[0].id == ID == id_of_key(ID.upper())
        assert read({"target": "/x", "id": ID}, key="other")[0].id == ID


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "status", "where"),
        [
            (b"", 400, ""),
            (b"{", 400, ""),
            (b"\xff", 400, ""),
            (b'{"target": NaN}', 400, ""),
            (b'{"target": "/x", "target": "/y"}', 400, ""),
            (b"[" * 100_000, 400, ""),
            (b'{"target": "/x", "json": ' + b"[" * 500 + b"]" * 500 + b"}", 422, "params"),
            (b'{"target": "/x", "max_deliveries": ' + b"9" * 5_000 + b"}", 400, ""),
            (b"[]", 422, ""),
            (b'"text"', 422, "message"),
            (b"null", 422, "message"),
            (b"{}", 422, "target"),
            (b'{"target": 1}', 422, "target"),
            (b'{"target": "ftp://h/"}', 422, "target"),
            (b'{"target": "http://127.0.0.1:7438/self"}', 422, "target"),
            (b'{"target": {"upstream": 1, "path": "/x"}}', 422, "target"),
            (b'{"target": {"upstream": "a", "path": []}}', 422, "target"),
            (b'{"target": "/x", "nonsense": 1}', 422, "nonsense"),
            (b'{"target": "/x", "on": "always"}', 422, "on"),
            (b'{"target": "/x", "id": "7"}', 422, "id"),
            (b'{"target": "/x", "id": 7}', 422, "id"),
            (b'{"target": "/x", "params": {"a": 1}, "text": "b"}', 422, "text"),
            (b'{"target": "/x", "text": 1}', 422, "text"),
            (b'{"target": "/x", "text": "\\ud800"}', 422, "params"),
            (b'{"target": "/x", "base64": "*"}', 422, "base64"),
            (b'{"target": "/x", "base64": "\xc3\xa9"}', 422, "base64"),
            (b'{"target": "/x", "text": "", "format": "raw"}', 422, "format"),
            (b'{"target": "/x", "format": "csv", "params": {}}', 422, "format"),
            (b'{"target": "/x", "protocol": "gopher"}', 422, "protocol"),
            (b'{"target": "/x", "protocol": "gopher", "base64": ""}', 422, "protocol"),
            (b'{"target": "/x", "protocol": "xmlrpc"}', 422, "action"),
            (b'{"target": "/x", "protocol": "xmlrpc", "action": "a<b"}', 422, "action"),
            (b'{"target": "/x", "options": [1]}', 422, "options"),
            (b'{"target": "/x", "params": 7}', 422, "params"),
            (b'{"target": "/x", "queue": ""}', 422, "queue"),
            (b'{"target": "/x", "queue": 5}', 422, "queue"),
            (b'{"target": "/x", "method": "A B"}', 422, "method"),
            (b'{"target": "/x", "method": 5}', 422, "method"),
            (b'{"target": "/x", "headers": {"Host": "h"}}', 422, "headers"),
            (b'{"target": "/x", "headers": {"a": 1}}', 422, "headers"),
            (b'{"target": "/x", "headers": []}', 422, "headers"),
            (b'{"target": "/x", "delivery": "twice"}', 422, "delivery"),
            (b'{"target": "/x", "delivery": []}', 422, "delivery"),
            (b'{"target": "/x", "delay_seconds": -1}', 422, "delay_seconds"),
            (b'{"target": "/x", "delay_seconds": "1"}', 422, "delay_seconds"),
            (b'{"target": "/x", "delay_seconds": 1e400}', 422, "delay_seconds"),
            (b'{"target": "/x", "deliver_at": "tomorrow"}', 422, "deliver_at"),
            (b'{"target": "/x", "deliver_at": "2030-01-01T00:00:00"}', 422, "deliver_at"),
            (b'{"target": "/x", "max_deliveries": 0}', 422, "max_deliveries"),
            (b'{"target": "/x", "timeout_seconds": true}', 422, "timeout_seconds"),
            (b'{"target": "/x", "trace_id": "x"}', 422, "trace_id"),
            (b'{"target": "/x", "method": "GET", "text": "b"}', 422, "method"),
        ],
    )
    def test_what_means_nothing_is_refused(self, body, status, where):
        """The answer says what was wrong, where, and what to do."""
        told = refusal(body)
        assert (told.status, re.split(r"[ \[]", told.where)[0]) == (status, where)
        assert told.message and (told.advice or where)
        assert json.loads(told.body)["outcome_unknown"] is False

    def test_the_place_in_an_array_is_reported(self):
        """Of several messages the wrong one is named."""
        assert refusal([{"target": "/x"}, {"target": "x"}]).where == "[1].target"

    def test_too_many(self):
        """Messages and bytes are bounded as in a request of the application."""
        assert refusal([{"target": "/x"}] * 1_001).status == 413
        big = base64.b64encode(b"x" * 2**20).decode()
        assert refusal({"target": "/x", "base64": "eHh4" + big}).status == 413
        assert refusal([{"target": "/x", "base64": big}] * 17).status == 413
        assert len(read([{"target": "/x", "base64": big}] * 15)) == 15

    @given(JSON)
    def test_nothing_takes_it_down(self, value):
        """Whatever is sent is read or refused."""
        try:
            read(value)
        except RequestRefused as refused:
            assert 400 <= refused.refusal.status < 500

    @given(MESSAGES)
    def test_no_field_takes_it_down(self, value):
        """Whatever a field holds is read or refused."""
        try:
            read(value)
        except RequestRefused as refused:
            assert 400 <= refused.refusal.status < 500


@pytest.mark.parametrize(
    "values",
    [
        {"params": {"a": "ü"}, "headers": {"X-A": "b", "traceparent": "x"}},
        {"params": b"\0\xff", "format": "raw", "delivery": "once", "queue": "Ünïcode"},
        {"target": "http://[::1]:80/a?b=[c]", "method": "delete", "expires_seconds": 9.5, "delay_seconds": 1.25},
        {"params": {"q": "a b"}, "method": "GET", "deliver_at": 1893456000.5},
        {"params": "[]", "format": "json", "max_deliveries": 3, "timeout_seconds": 0.5},
        {"params": {"a": "b"}, "format": "xml", "priority": -2},
        {"params": [1, "ü"], "protocol": "xmlrpc", "action": "shop.pay", "priority": 7},
        {"params": {"a": b"\xff"}, "protocol": "soap", "action": "Pay", "options": {"wsdl": "http://h/a?wsdl"}},
    ],
)
def test_what_the_client_sends_is_what_was_described(values):
    """A message that was described in a web process arrives at the intake as the very same."""
    described = describe_message(values.pop("target", "/x"), limits=Settings(), trace_id="a" * 32, **values)
    assert read([fields_of(described)]) == [described]
    other = described._replace(target=Target("/x", "billing"), id=new_id())
    assert read([fields_of(other)]) == [other]


class TestAp4rsHeader:
    def test_the_example_of_ap4r(self):
        """What AP4R's own documents show is understood."""
        text = "dispatch_mode=HTTP, target_method=POST, target_url=http://localhost:3000/async_shop/execute_via_http/"
        assert read_options(text) == {"method": "POST", "target": "http://localhost:3000/async_shop/execute_via_http/"}

    def test_every_option(self):
        """The options that have a meaning are those of async_to under AP4R's names."""
        text = (
            "target_url=/x?a=1,b, delivery=once,expires=60, activates=5,max_deliveries=3, priority=0, "
            "http_header_X_Shop=north, http_header_Accept=a/b"
        )
        assert read_options(text) == {
            "target": "/x?a=1,b",
            "delivery": "once",
            "expires_seconds": 60.0,
            "delay_seconds": 5.0,
            "max_deliveries": 3,
            "priority": 0,
            "headers": {"X-Shop": "north", "Accept": "a/b"},
        }

    @pytest.mark.parametrize(
        "text",
        [
            *("", "target_url", "target_url=", "dispatch_mode=HTTP", "target_url=/x, dispatch_mode=SOAP"),
            *(
                f"target_url=/x, expires={number}"
                for number in ("1_0", "\u0663", "1e3", "inf", "nan", "0x1", "+1", "9" * 400)
            ),
            *("target_url=/x, priority=1e400", "target_url=/x, max_deliveries=\uff11"),
            *("target_url=/x, a=b", "target_url=/x, priority=1.5", "target_url=/x, expires=soon"),
            *("target_url=/x, target_url=/y", "target_url=/x, max_deliveries=1.5"),
            *("target_url=/x, max_deliveries=inf", "target_url=/x, max_deliveries=nan"),
        ],
    )
    def test_what_means_nothing_is_refused(self, text):
        """An option that is unknown, wrong, or without a meaning here is refused by its name."""
        with pytest.raises(OptionRefused):
            read_options(text)


def test_the_document_allows_null():
    """Every field but the target may be null by the OpenAPI document, as it may be where it is read."""
    for name, schema in describe()["components"]["schemas"]["Message"]["properties"].items():
        allowed = "null" in schema.get("type", ()) or {"type": "null"} in schema.get("oneOf", ())
        assert allowed is (name not in ("target", "params", "json")), name
        assert None in schema.get("enum", [None]), name


def test_the_document_has_every_field():
    """The OpenAPI document tells of each field of a message, and of no other."""
    assert set(describe()["components"]["schemas"]["Message"]["properties"]) == FIELDS


def test_an_instant_of_0_is_written_into_json():
    """`deliver_at` 0 is the beginning of 1970, not the absence of an instant."""
    described = describe_message("/x", limits=Settings(), deliver_at=0.0, trace_id="a" * 32)
    assert fields_of(described)["deliver_at"] == 0.0
    assert read([fields_of(described)]) == [described]
