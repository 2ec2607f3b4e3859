"""Encoding and judging, protocol by protocol, without any server."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import sys
import xmlrpc.client
from importlib.metadata import EntryPoint
from xml.etree import ElementTree

import lxml.etree
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.describe.describe import describe_message
from ap4r.errors import MessageError, OptionRefused, PayloadNotEncodable
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import ValuePath
from ap4r.message.message import Message
from ap4r.outcome.response import Answer, Reason, ResponseReading
from ap4r.protocols import registry
from ap4r.protocols.base import read_answer
from ap4r.protocols.registry import find_protocol
from ap4r.protocols.soap import typed_json
from ap4r.protocols.soap.wsdl import Wsdl
from ap4r.settings.settings import Settings
from tests.support.wsdl import WSDL


def _fault(words):
    return ResponseReading(Reason.FAULT, words)


def _client_fault(words):
    return ResponseReading(Reason.CLIENT_FAULT, words)


TYPES = {
    "text": "string", "number": "integer", "amount": "decimal", "yes": "boolean", "day": "date", "data": "base64Binary",
    "when": "dateTime", "item": "string",
}  # fmt: skip
_ELEMENTS = "".join(
    f'<x:element name="{name}" type="x:{kind}" minOccurs="0" maxOccurs="{"unbounded" if name == "item" else 1}"/>'
    for name, kind in TYPES.items()
)
#: zeep leaves out the zeros of an earlier year.
MODERN = datetime.date(1000, 1, 1)
TYPED_WSDL = Wsdl(
    "http://a/?wsdl",
    {"http://a/?wsdl": WSDL.format(more="").replace('<x:element name="id" type="x:int"/>', _ELEMENTS).encode()},
)
ROOM = Settings(max_body_bytes=10**7)
SOAP11, SOAP12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"


def made(params=None, **options):
    """Describe a message to /x; options that async_to has no argument for are the protocol's."""
    own = {
        name: options.pop(name)
        for name in list(options)
        if name in ("protocol", "action", "method", "format", "headers")
    }
    return describe_message("/x", params, **own, options=options, limits=ROOM)


def judged(
    message: Message, body: bytes | str, status: int = 200, *, headers: dict[str, str] | None = None
) -> ResponseReading | None:
    """Read an answer with the message's protocol."""
    answer = Answer(status, headers or {}, body.encode() if isinstance(body, str) else body)
    return read_answer(find_protocol(message.protocol), message, answer)


XML_TEXT = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff", include_characters="\r\n\t"
    ),
    max_size=15,
)
XMLRPC = st.recursive(
    st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False, allow_infinity=False) | XML_TEXT
    | st.binary(max_size=15) | st.datetimes().map(lambda instant: instant.replace(microsecond=0)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(XML_TEXT, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.lists(XMLRPC, max_size=3))
def test_xmlrpc_is_read_back_by_the_standard_library(params):
    """Every type that XML-RPC has, nested."""
    message = made(params, protocol="xmlrpc", action="shop.take")
    got, method = xmlrpc.client.loads(message.body, use_builtin_types=True)
    assert (list(got), method) == (params, "shop.take")
    assert message.method == "POST"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")), lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner), max_leaves=8))  # fmt: skip  # noqa: E501
def test_jsonrpc_is_a_request_object(params):
    """By position and by name; its id is the message's."""
    for given_params in ([params], {"a": params}):
        message = made(given_params, protocol="jsonrpc", action="m")
        wanted = {"jsonrpc": "2.0", "method": "m", "params": given_params, "id": message.id}
        assert json.loads(message.body) == wanted


TYPED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")) | st.binary() | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC)) | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"\w{1,5}", fullmatch=True), inner),
    max_leaves=10,
)  # fmt: skip


@given(TYPED)
def test_params_that_wait_for_a_wsdl_keep_their_types(params):
    """A date stays a date, a Decimal its digits, bytes bytes."""
    read = typed_json.read(typed_json.write(typed_json.tagged(params, ValuePath(), SizeLimit())))
    assert read == params
    assert repr(read) == repr(params).replace(", fold=1", "")


def test_an_integer_beyond_32_bits_is_an_i8():
    """Servers that know the extension of Apache's read it; one of 32 bits stays what every server knows."""
    body = made([2**40, -(2**63), 2**31 - 1, {"a": [2**31]}], protocol="xmlrpc", action="a").body
    assert xmlrpc.client.loads(body)[0] == (2**40, -(2**63), 2**31 - 1, {"a": [2**31]})
    assert (body.count(b"<i8>"), body.count(b"<int>")) == (3, 1)


def test_a_soap_envelope_has_a_header():
    """As a mapping, whose names may have namespaces of their own, as an element, or several of both."""
    header = [{"{urn:a}Session": {"id": 5}, "Plain": "a&b"}, ElementTree.fromstring('<x:T xmlns:x="urn:t" a="1"/>')]
    message = made({"id": 1}, protocol="soap", action="Go", namespace="urn:shop", header=header)
    root = ElementTree.fromstring(message.body)
    assert [child.tag.rpartition("}")[2] for child in root] == ["Header", "Body"]
    assert [child.tag for child in root[0]] == ["{urn:a}Session", "{urn:shop}Plain", "{urn:t}T"]
    assert root[0].findtext("{urn:a}Session/{urn:a}id") == "5"
    only = made({}, protocol="soap", action="Go", header=lxml.etree.fromstring("<a/>"))
    assert b"<soap:Header><a/></soap:Header>" in only.body


def test_a_soap_envelope_is_plain():
    """Elements by key, lists as many of one name, nil, the action's namespace, and the action in the headers."""
    params = {
        "id": 12,
        "tags": ["a", "é<"],
        "at": datetime.date(2026, 1, 2),
        "in": {"ok": True},
        "no": None,
        "b": b"\0",
    }
    message = made(params, protocol="soap", action="ReIndex", namespace="urn:shop")
    assert message.headers == (("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", '"ReIndex"'))
    body = ElementTree.fromstring(message.body).find(f"{{{SOAP11}}}Body")
    [action] = body
    assert action.tag == "{urn:shop}ReIndex"
    assert [(child.tag.partition("}")[2], child.text) for child in action] == [
        ("id", "12"), ("tags", "a"), ("tags", "é<"), ("at", "2026-01-02"), ("in", None), ("no", None), ("b", "AA=="),
    ]  # fmt: skip
    newer = made({}, protocol="soap", action="ReIndex", version="1.2", soap_action='urn:"x')
    assert newer.headers == (("Content-Type", 'application/soap+xml; charset=utf-8; action="urn:\\"x"'),)
    assert ElementTree.fromstring(newer.body).tag == f"{{{SOAP12}}}Envelope"
    own = made(ElementTree.fromstring("<q>é</q>"), protocol="soap", action="ReIndex")
    assert ElementTree.fromstring(own.body)[0][0].text == "é"


SOAP_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
#: A list is its element again and again, so one item is no list, and no list is nothing.
SOAP_VALUES = st.recursive(
    XML_TEXT,
    lambda inner: st.dictionaries(SOAP_NAMES, inner | st.lists(inner, min_size=2, max_size=3), min_size=1, max_size=3),
    max_leaves=10,
)


def _from_soap(element):
    """Read a plain element: what has children is a mapping, and a name that comes again holds a list."""
    if not len(element):
        return None if element.get("{http://www.w3.org/2001/XMLSchema-instance}nil") else element.text or ""
    read = {}
    for child in element:
        read.setdefault(child.tag.rpartition("}")[2], []).append(_from_soap(child))
    return {name: values[0] if len(values) == 1 else values for name, values in read.items()}


@given(st.dictionaries(SOAP_NAMES, SOAP_VALUES | st.none(), min_size=1, max_size=4), st.sampled_from(["1.1", "1.2"]))
def test_a_plain_soap_envelope_is_read_back(params, version):
    """Mappings, lists and texts at any depth, by a reader of XML."""
    message = made(params, protocol="soap", action="Go", version=version, namespace="urn:a&b")
    [action] = ElementTree.fromstring(message.body)[0]
    assert action.tag == "{urn:a&b}Go"
    assert _from_soap(action) == params


SOAP_PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "text": XML_TEXT, "number": st.integers(), "amount": st.decimals(-(10**20), 10**20, places=9),
        "yes": st.booleans(), "day": st.dates(MODERN), "data": st.binary(max_size=30),
        "when": st.datetimes(timezones=st.just(datetime.UTC)).filter(lambda when: when.date() >= MODERN),
        "item": st.lists(XML_TEXT, min_size=1, max_size=3),
    },
)  # fmt: skip
READERS = {
    "string": str, "integer": int, "decimal": decimal.Decimal, "boolean": {"true": True, "false": False}.get,
    "date": datetime.date.fromisoformat, "base64Binary": base64.b64decode,
    "dateTime": datetime.datetime.fromisoformat,
}  # fmt: skip


@given(SOAP_PARAMS)
def test_soap_after_a_wsdl_is_read_back_by_its_types(params):
    """What was kept with its types is written in the way and the order that the WSDL wants."""
    message = made(params, protocol="soap", action="Go", wsdl="http://a/?wsdl")
    written = TYPED_WSDL.complete(message, typed_json.read(message.body))
    [go] = ElementTree.fromstring(written.body)[0]
    read = {}
    for child in go:
        name = child.tag.removeprefix("{urn:t}")
        read.setdefault(name, []).append(READERS[TYPES[name]](child.text or ""))
    assert read == {name: value if name == "item" else [value] for name, value in params.items()}
    assert list(read) == [name for name in TYPES if name in params]


@pytest.mark.parametrize(
    ("params", "options", "told"),
    [
        ([1], {"protocol": "xmlrpc"}, "needs action="),
        ([1], {"protocol": "xmlrpc", "action": ""}, "needs action="),
        ([1], {"protocol": "xmlrpc", "action": "a", "method": "GET"}, "given as action="),
        ([1], {"protocol": "xmlrpc", "action": "a", "format": "json"}, "its own format"),
        ([1], {"protocol": "xmlrpc", "action": "a", "wsdl": "/x"}, "no such option"),
        ([1], {"protocol": "xmlrpc", "action": "a", "allow_none": 1}, "True or False"),
        ([{"a": [None]}], {"protocol": "xmlrpc", "action": "a"}, r'params\[0\]\["a"\]\[0\].*allow_none'),
        ([2**63], {"protocol": "xmlrpc", "action": "a"}, r"params\[0\].*64 bits"),
        (["\x00"], {"protocol": "xmlrpc", "action": "a"}, r"params\[0\].*does not allow"),
        ([1], {"protocol": "xmlrpc", "action": "a&b"}, "letters, digits"),
        ([1], {"protocol": "xmlrpc", "action": "s<"}, "letters, digits"),
        ([1], {"protocol": "xmlrpc", "action": "a</methodName><params/></methodCall>"}, "letters, digits"),
        ([1], {"protocol": "xmlrpc", "action": "é"}, "letters, digits"),
        (5, {"protocol": "jsonrpc", "action": "a"}, "by name"),
        ({"a": {1}}, {"protocol": "jsonrpc", "action": "a"}, r'params\["a"\]'),
        ({"a": [[1]]}, {"protocol": "soap", "action": "a"}, r'params\["a"\]\[0\]'),
        ({"a b": 1}, {"protocol": "soap", "action": "a"}, "name of an element"),
        ({}, {"protocol": "soap", "action": "a b"}, "name of an element"),
        ([1], {"protocol": "soap", "action": "a"}, "wsdl="),
        ({}, {"protocol": "soap", "action": "a", "version": "2"}, "'1.1' or '1.2'"),
        ({}, {"protocol": "soap", "action": "a", "service": "x"}, "needs wsdl="),
        ({}, {"protocol": "soap", "action": "a", "wsse": "x"}, "needs wsdl="),
        ({}, {"protocol": "soap", "action": "a", "header": "<a/>"}, "an Element, or a list"),
        ({}, {"protocol": "soap", "action": "a", "wsdl": "/x", "header": 5}, "an Element, or a list"),
        ({}, {"protocol": "soap", "action": "a", "wsdl": "/x", "wsse": "A B"}, "the NAME of a table"),
        ({}, {"protocol": "soap", "action": "a", "wsdl": "/x", "namespace": "x"}, "the WSDL defines it"),
        ({}, {"protocol": "soap", "action": "a", "wsdl": "ftp://x/"}, "http"),
        ({}, {"protocol": "soap", "action": "a", "wsdl": 5}, "the URL of a WSDL"),
        ({"$date": "x"}, {"protocol": "soap", "action": "a", "wsdl": "/x"}, r"begins with \$"),
        ({}, {"action": "a"}, "only other protocols"),
        ({}, {"dely_seconds": 5}, "async_to has no such option"),
        ({}, {"protocol": "soup"}, "did you mean soap"),
        ({}, {"protocol": None}, "http, jsonrpc, soap, xmlrpc"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_called_is_refused_in_the_callers_line(params, options, told):
    """With the place and with what to do."""
    with pytest.raises(MessageError, match=told):
        made(params, **options)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), decimal.Decimal("NaN")], ids=repr)
@pytest.mark.parametrize(
    "options",
    [
        *({"format": format} for format in ("form", "json", "xml", "yaml", "multipart")),
        *({"protocol": protocol, "action": "a"} for protocol in ("jsonrpc", "xmlrpc", "soap")),
        {"protocol": "soap", "action": "a", "wsdl": "/x"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_what_is_no_number_is_refused_everywhere(options, number):
    """NaN and infinities, which JSON has no place for, are named in the caller's line, whatever is to be written."""
    params = [{"b": number}] if options.get("protocol") == "xmlrpc" else {"a": {"b": number}}
    with pytest.raises(PayloadNotEncodable, match=r'params.*\["b"\].*not a number') as refused:
        made(params, **options)
    assert repr(number) in str(refused.value)
    assert refused.value.value is number


@pytest.mark.parametrize("action", ["system.listMethods", "a_b/C:9", "7"])
def test_a_method_has_every_name_that_xmlrpc_allows(action):
    """Letters, digits, and the signs of its specification."""
    body = made([1], protocol="xmlrpc", action=action).body
    assert xmlrpc.client.loads(body) == ((1,), action)


def test_an_instant_goes_to_xmlrpc_in_utc():
    """XML-RPC has no time zones; an early year keeps its zeros; nil is sent where it is asked for."""
    zone = datetime.timezone(datetime.timedelta(hours=2))
    params = [datetime.datetime(2026, 1, 2, 1, tzinfo=zone), datetime.datetime(1, 1, 1), None]  # noqa: DTZ001
    body = made(params, protocol="xmlrpc", action="a", allow_none=True).body
    assert b"20260101T23:00:00" in body
    assert b"00010101T00:00:00" in body
    assert b"<nil/>" in body


FAULT11 = (
    '<s:Envelope xmlns:s="{ns}"><s:Header><x/></s:Header><s:Body><s:Fault><faultcode>{code}</faultcode>'
    "<faultstring>nö</faultstring><detail><a>b</a></detail></s:Fault></s:Body></s:Envelope>"
)
FAULT12 = (
    '<s:Envelope xmlns:s="{ns}"><s:Body><s:Fault><s:Code><s:Value>{code}</s:Value><s:Subcode><s:Value>m:Sub</s:Value>'
    '</s:Subcode></s:Code><s:Reason><s:Text xml:lang="en">nö</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>'
)
DONE11 = f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><Fault>none</Fault></s:Body></s:Envelope>'
XMLRPC_FAULT = (
    "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>{code}</int></value></member>"
    "<member><name>faultString</name><value>nö</value></member></struct></value></fault></methodResponse>"
)
XMLRPC_DONE = "<methodResponse><params><param><value>x</value></param></params></methodResponse>"
RPC_ERROR = '{{"jsonrpc":"2.0","id":null,"error":{{"code":{code},"message":"nö"}}}}'
OK, BAD = ResponseReading(), Reason.BAD_RESPONSE
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><methodResponse><params>&a;</params></methodResponse>'
DEEP = "<methodResponse>" + "<a>" * 100_000


@pytest.mark.parametrize(
    ("protocol", "status", "body", "wanted"),
    [
        ("xmlrpc", 200, XMLRPC_DONE, OK),
        ("xmlrpc", 200, xmlrpc.client.dumps((["x"] * 100_000,), methodresponse=True), OK),
        ("xmlrpc", 200, XMLRPC_FAULT.format(code=4), _fault("fault 4: nö")),
        ("xmlrpc", 500, XMLRPC_FAULT.format(code=4), _fault("fault 4: nö")),
        ("xmlrpc", 200, XMLRPC_FAULT.format(code=-32601), _client_fault("fault -32601: nö")),
        ("xmlrpc", 200, xmlrpc.client.dumps(xmlrpc.client.Fault(4, "nö")), _fault("fault 4: nö")),
        ("xmlrpc", 200, XMLRPC_DONE[:-1], BAD),
        ("xmlrpc", 200, "<html/>", BAD),
        ("xmlrpc", 200, "", BAD),
        ("xmlrpc", 200, BOMB, BAD),
        ("xmlrpc", 200, OUTSIDE, BAD),
        ("xmlrpc", 200, DEEP, BAD),
        ("xmlrpc", 200, "<methodResponse>" + "<a/>" * 20_000, BAD),
        ("xmlrpc", 404, "<html/>", None),
        ("xmlrpc", 500, "oops", None),
        ("soap", 200, DONE11, OK),
        ("soap", 202, "", OK),
        ("soap", 200, f'<s:Envelope xmlns:s="{SOAP12}"><s:Body/></s:Envelope>', OK),
        ("soap", 500, FAULT11.format(ns=SOAP11, code="s:Server.Busy"), Reason.FAULT),
        ("soap", 500, FAULT11.format(ns=SOAP11, code="s:S.B"), _fault("fault S.B: nö (b)")),
        ("soap", 200, FAULT11.format(ns=SOAP11, code="s:Client"), _client_fault("fault Client: nö (b)")),
        ("soap", 500, FAULT11.format(ns=SOAP11, code="s:MustUnderstand"), Reason.CLIENT_FAULT),
        ("soap", 500, FAULT12.format(ns=SOAP12, code="s:Receiver"), _fault("fault Receiver Sub: nö")),
        ("soap", 400, FAULT12.format(ns=SOAP12, code="s:Sender"), _client_fault("fault Sender Sub: nö")),
        ("soap", 200, "<html/>", BAD),
        ("soap", 200, DONE11[:-1], BAD),
        ("soap", 200, BOMB, BAD),
        ("soap", 503, "busy", None),
        ("jsonrpc", 200, RPC_ERROR.format(code=-32000), _fault("error -32000: nö")),
        ("jsonrpc", 200, RPC_ERROR.format(code=-32603), Reason.FAULT),
        ("jsonrpc", 200, RPC_ERROR.format(code=-32600), Reason.CLIENT_FAULT),
        ("jsonrpc", 400, RPC_ERROR.format(code=-32601), Reason.CLIENT_FAULT),
        ("jsonrpc", 200, RPC_ERROR.format(code=-32602), Reason.CLIENT_FAULT),
        ("jsonrpc", 200, '{"jsonrpc":"2.0","id":"other","result":1}', BAD),
        ("jsonrpc", 200, '{"result":1}', BAD),
        ("jsonrpc", 200, "[]", BAD),
        ("jsonrpc", 200, "", BAD),
        ("jsonrpc", 200, "[" * 200_000, BAD),
        ("jsonrpc", 500, "oops", None),
        ("jsonrpc", 200, b"\xff\xfe", BAD),
    ],
)  # fmt: skip
def test_an_answer_is_read(protocol, status, body, wanted):
    """Done, a fault with its code and text, a body that says nothing, or left to the status."""
    reading = judged(made({}, protocol=protocol, action="a"), body, status)
    assert (reading.reason if isinstance(wanted, Reason) else reading) == wanted


def test_a_jsonrpc_result_is_success():
    """With the id of the request, whatever the result is."""
    message = made({}, protocol="jsonrpc", action="a")
    assert judged(message, json.dumps({"jsonrpc": "2.0", "id": message.id, "result": None})) == ResponseReading()


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"result": 7199.99, "error": None}, None),
        ({"result": None, "error": None}, None),
        ({"result": None, "error": "no funds"}, _fault('error "no funds"')),
        (
            {"result": None, "error": {"code": -6, "message": "no funds"}},
            _fault("error -6: no funds"),
        ),
        ({"result": 10**5_000, "error": None, "version": "1.1"}, None),
    ],
)
def test_an_answer_of_jsonrpc_1_is_read(told, wanted):
    """It has both members, one of them null, and no version."""
    message = made({}, protocol="jsonrpc", action="a")
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    body = json.dumps({**told, "id": message.id})
    sys.set_int_max_str_digits(limit)
    assert judged(message, body) == (wanted or ResponseReading())


CHARSETS = ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "iso-8859-1", "windows-1252", "shift_jis", "euc-jp",
            "gb18030", "big5", "koi8-r", "cp037", "mac-roman", "iso-2022-jp", "utf-7"]  # fmt: skip


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("where", ["header", "declaration", "both", "a wrong header", "blanks"])
def test_an_answer_of_any_charset_is_read(charset, where):
    """Told by the header, by the declaration, or by both; with blanks before it; also where the header is wrong."""
    if where in ("declaration", "a wrong header", "blanks") and charset == "utf-7":
        pytest.skip("neither its first bytes nor its declaration stand as in ASCII")
    declared = f'<?xml version="1.0" encoding="{charset}"?>' if where != "header" else ""
    blanks = "" if charset == "cp037" else "\r\n \t"
    body = (blanks if where == "blanks" else "") + declared + XMLRPC_FAULT.format(code=4).replace("nö", "no!")
    header = {"header": charset, "both": charset, "a wrong header": "ascii"}.get(where)
    headers = {} if header is None else {"content-type": f'text/xml; Charset="{header}"'}
    if where == "a wrong header" and charset in ("utf-7", "iso-2022-jp", "cp037"):
        headers = {"content-type": "text/xml; charset=no-such"}
    reading = judged(made({}, protocol="xmlrpc", action="a"), body.encode(charset), headers=headers)
    assert reading == _fault("fault 4: no!")


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be", "iso-8859-1"])
def test_json_of_any_charset_is_read(charset):
    """By its mark, by its zero bytes, or by the header."""
    message = made({}, protocol="jsonrpc", action="a")
    body = "\n" + json.dumps({"jsonrpc": "2.0", "id": message.id, "result": "nö"}, ensure_ascii=False)
    headers = {"content-type": "application/json; charset=latin1"} if charset == "iso-8859-1" else {}
    assert judged(message, body.encode(charset), headers=headers) == ResponseReading()


@pytest.mark.parametrize("charset", ["zlib", "rot13", "punycode", "idna", "unicode_escape", "x" * 500, "a\0b", ""])
def test_what_is_no_charset_is_none(charset):
    """A name that means nothing, or something else, leaves the bytes as they are."""
    headers = {"content-type": f'text/xml; charset="{charset}"'}
    assert judged(made({}, protocol="xmlrpc", action="a"), XMLRPC_DONE, headers=headers) == ResponseReading()


def test_bytes_that_fit_no_charset_are_read_all_the_same():
    """Whether the work is done stands in ASCII."""
    body = XMLRPC_DONE.encode().replace(b"x", b"\xff\xfe\x81", 1)
    assert judged(made({}, protocol="xmlrpc", action="a"), body) == ResponseReading()


PARTS = (
    "--MIME_b\r\nContent-Type: image/png\r\nContent-ID: <pic>\r\n\r\n\x01\r\n"
    '--MIME_b\r\ncontent-type: application/xop+xml; charset=UTF-8;\r\n type="text/xml"\r\n{more}'
    "Content-ID: <root@x>\r\n\r\n{root}\r\n--MIME_b--\r\n"
)


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
@pytest.mark.parametrize("preamble", ["", "This is a multi-part message.\r\n"])
@pytest.mark.parametrize("encoding", ["", "8bit", "binary", "base64", "quoted-printable"])
def test_soap_with_attachments_is_read(encoding, preamble, line_end):
    """The part that `start` names decides (RFC 2387, SwA, MTOM)."""
    fault = FAULT11.format(ns=SOAP11, code="s:Server")
    root = {"base64": base64.b64encode(fault.encode()).decode(), "quoted-printable": fault.replace("=", "=3D")}
    more = f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else ""
    body = (preamble + PARTS.format(more=more, root=root.get(encoding, fault))).replace("\r\n", line_end)
    headers = {"content-type": 'Multipart/Related; boundary="MIME_b"; type="application/xop+xml"; start="<root@x>"'}
    reading = judged(made({}, protocol="soap", action="a"), body, headers=headers)
    assert reading == _fault("fault Server: nö (b)")


def test_the_first_part_is_the_root_where_none_is_named():
    """RFC 2387, 3.2; and a body without its boundary is read as it is."""
    body = f"--b\r\n\r\n{DONE11}\r\n--b\r\n\r\nx\r\n--b--"
    message = made({}, protocol="soap", action="a")
    assert judged(message, body, headers={"content-type": "multipart/related; boundary=b"}) == OK
    assert judged(message, DONE11, headers={"content-type": "multipart/related; boundary=b"}) == OK
    assert judged(message, DONE11, headers={"content-type": "multipart/related"}) == OK
    assert judged(message, "--b", headers={"content-type": "multipart/related; boundary=b"}).reason is BAD


@given(st.binary(max_size=200), st.sampled_from(["xmlrpc", "soap", "jsonrpc"]), st.sampled_from([200, 400, 500]))
def test_no_answer_breaks_a_protocol(body, protocol, status):
    """Whatever comes, it is a reading or the status's business."""
    reading = judged(made({}, protocol=protocol, action="a"), body, status)
    assert reading is None or isinstance(reading, ResponseReading)


class Shout:
    """A protocol of another package."""

    def encode(self, call):
        from ap4r.protocols.base import Encoded

        return Encoded(target=call.target, body=str(call.params).upper().encode())

    def judge(self, answer, message):
        return {b"heard": ResponseReading(), b"what": "no reading"}.get(answer.body) or 1 / 0


class Plain(Shout):
    """One that gives something else than it should."""

    def encode(self, call):
        return str(call.params)


def test_others_may_add_protocols(monkeypatch):
    """An entry point names one; what it makes of answers cannot hurt anybody."""
    point = EntryPoint("shout", f"{__name__}:Shout", registry.GROUP)
    broken = EntryPoint("broken", f"{__name__}:NoSuch", registry.GROUP)
    plain = EntryPoint("plain", f"{__name__}:Plain", registry.GROUP)
    wrong = EntryPoint("wrong", f"{__name__}:XMLRPC_DONE", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point, broken, wrong, plain])
    registry._loaded.cache_clear()
    try:
        message = made("hey", protocol="shout")
        assert (message.body, message.protocol) == (b"HEY", "shout")
        assert judged(message, "heard") == ResponseReading()
        for answer in ("what", "boom"):
            assert judged(message, answer).reason is Reason.BAD_RESPONSE
        for name in ("broken", "wrong"):
            with pytest.raises(OptionRefused, match=name):
                made(protocol=name)
        with pytest.raises(OptionRefused, match="returned str instead of Encoded"):
            made(protocol="plain")
        assert registry.known_protocols()[-4:] == ["broken", "plain", "shout", "wrong"]
    finally:
        registry._loaded.cache_clear()


def test_a_decimal_that_is_no_number_has_no_place_in_soap():
    """The error names the place."""
    with pytest.raises(PayloadNotEncodable, match=r'params\["a"\]'):
        made({"a": decimal.Decimal("NaN")}, protocol="soap", action="a", wsdl="/x")
    assert made()._replace(body=b"x").protocol == "http"


@pytest.mark.parametrize("instant", [(9999, 12, 31, 23), (1, 1, 1, 0)])
@pytest.mark.parametrize("hours", [-23, 23])
def test_an_instant_outside_of_utc_is_refused_with_its_place(instant, hours):
    """The error is that of every value which cannot be written, or the value is written."""
    zoned = datetime.datetime(*instant, tzinfo=datetime.timezone(datetime.timedelta(hours=hours)))
    try:
        describe_message("/x", {"a": zoned}, protocol="xmlrpc", action="a", limits=Settings())
    except PayloadNotEncodable as refused:
        assert "in UTC" in str(refused)
        assert '["a"]' in str(refused)
