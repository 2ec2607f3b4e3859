"""Calls of every protocol go through a real dispatcher to servers that others wrote, and arrive as they were meant."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import ap4r

UNICODE = "ä€😀 <&\"'> ]]> \u2028\r\n\ttext"
MEGABYTE = "é<" * 400_000
ZEROS = b"\x00" * 1_000_000
INSTANT = datetime.datetime(2026, 2, 3, 4, 5, 6)  # noqa: DTZ001 - XML-RPC has no time zones
NESTED = {"a": [1, {"b": [True, False, 1.5, -(2**31)]}, []], "ü": {"": UNICODE}, "none": {}, "text": ""}
OTHERS = {"when": INSTANT, "data": bytes(range(256)), "no data": b""}


WHEN = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
DAY, ALL_BYTES = datetime.date(2026, 2, 28), bytes(range(256))
FORM = {"a": {"b": ["1", UNICODE], "c": {"ü": "x"}}, "when": WHEN, "day": DAY, "none": None, "text": ""}
FORM_GOT = {
    "a[b][]": ["1", UNICODE], "a[c][ü]": ["x"], "when": ["2026-02-03T04:05:06+00:00"], "day": ["2026-02-28"],
    "none": [""], "text": [""],
}  # fmt: skip
FILES = {"sheet": ap4r.File(ALL_BYTES, "ü b.csv", "text/csv"), "void": ap4r.File(b"", "void.bin", "application/x-a")}
FILES_GOT = {"sheet": ("ü b.csv", "text/csv", ALL_BYTES), "void": ("void.bin", "application/x-a", b"")}
SPELLED = {"when": "2026-02-03T04:05:06+00:00", "day": "2026-02-28", "data": "AP8=", "dec": "1.50"}
TYPED = {"when": WHEN, "day": DAY, "data": b"\x00\xff", "dec": decimal.Decimal("1.50")}
ROOT = ElementTree.Element("order", {"nö": "ä"})
ElementTree.SubElement(ROOT, "line").text = UNICODE
XML_GOT = [
    ("hash", {}, ""), ("a", {"type": "array"}, ""), ("item", {"type": "integer"}, "1"), ("item", {}, ""),
    ("b", {}, UNICODE), ("when", {"type": "dateTime"}, SPELLED["when"]), ("day", {"type": "date"}, SPELLED["day"]),
    ("data", {"type": "base64Binary"}, "AP8="), ("none", {"nil": "true"}, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("format", "params", "got"),
    [
        ("form", FORM, (FORM_GOT, {})),
        ("form", {}, ({}, {})),
        ("form", {"big": MEGABYTE}, ({"big": [MEGABYTE]}, {})),
        ("multipart", {"text": UNICODE, **FILES}, ({"text": [UNICODE]}, FILES_GOT)),
        ("multipart", {"big": ap4r.File(ZEROS, "big", "a/b")}, ({}, {"big": ("big", "a/b", ZEROS)})),
        ("json", {"nested": NESTED, **TYPED}, {"nested": NESTED, **SPELLED}),
        ("json", {}, {}),
        ("json", [MEGABYTE], [MEGABYTE]),
        ("yaml", {"nested": NESTED, **TYPED}, {"nested": NESTED, **TYPED, "dec": "1.50"}),
        ("yaml", [], []),
        ("yaml", [MEGABYTE, ZEROS], [MEGABYTE, ZEROS]),
        ("xml", {"a": [1, {"b": UNICODE}], "when": WHEN, "day": DAY, "data": b"\x00\xff", "none": None}, XML_GOT),
        ("xml", ROOT, [("order", {"nö": "ä"}, ""), ("line", {}, UNICODE.replace("\r\n", "\n"))]),
        ("xml", {}, [("hash", {}, "")]),
        ("xml", {"big": MEGABYTE}, [("hash", {}, ""), ("big", {}, MEGABYTE)]),
        ("text", UNICODE, UNICODE),
        ("text", MEGABYTE, MEGABYTE),
        ("raw", ALL_BYTES, ALL_BYTES),
        ("raw", b"\xff" * 1_000_000, b"\xff" * 1_000_000),
    ],
)  # fmt: skip
def test_http_in_every_format(servers, format, params, got):
    """Flask reads each as its type says; forms and files Django reads too, and in the same way."""
    [(kind, read)] = servers.called("flask", lambda ap4r: ap4r.async_to("/flask/take", params, format=format))
    assert read == got, kind
    if format in ("form", "multipart"):
        [read] = servers.called("django form", lambda ap4r: ap4r.async_to("/django/form", params, format=format))
        assert read == got


@pytest.mark.parametrize(("server", "path"), [("xmlrpc", None), ("modernrpc", "/django/rpc")])
@pytest.mark.parametrize(
    "params",
    [
        (NESTED, UNICODE, 5),
        (OTHERS, INSTANT, b"\x00\xff"),
        ([], {}, ""),
        (MEGABYTE,),
        (ZEROS,),
        (),
        None,
    ],
    ids=["nested", "dates and bytes", "empty", "a megabyte", "a megabyte of bytes", "no parameter", "nothing"],
)
def test_xmlrpc(servers, server, path, params):
    """The standard library's server and a Django package get the parameters as they were."""
    url = servers.xmlrpc if path is None else servers.url(path)
    [got] = servers.called(server, lambda ap4r: ap4r.async_to(url, params, protocol="xmlrpc", action="shop.take"))
    if server == "modernrpc":
        # It gives its own types for what XML-RPC has types of its own for.
        got = tuple(getattr(value, "data", value) for value in got)
        params = params if params is None else tuple(params)
        if params and params[0] is OTHERS:
            got, params = got[1:], params[1:]
    assert got == (() if params is None else params)


@pytest.mark.parametrize("server", ["jsonrpcserver", "tinyrpc"])
@pytest.mark.parametrize(
    ("params", "got"),
    [
        ([NESTED, UNICODE, None], (NESTED, UNICODE, None, {})),
        ({"a": NESTED, "ü": [UNICODE]}, ({"a": NESTED, "ü": [UNICODE]},)),
        ([INSTANT, b"\x00\xff", decimal.Decimal("1.50")], ("2026-02-03T04:05:06", "AP8=", "1.50", {})),
        ([], ({},)),
        (None, ({},)),
        ([MEGABYTE], (MEGABYTE, {})),
    ],
    ids=["nested", "named", "spelled", "empty", "nothing", "a megabyte"],
)
def test_jsonrpc(servers, server, params, got):
    """Two packages of others get params by name and by position."""
    url = servers.url(f"/{server}")
    assert servers.called(server, lambda ap4r: ap4r.async_to(url, params, protocol="jsonrpc", action="shop.take")) == [
        got
    ]


ORDER = {
    "number": UNICODE.replace("\r\n", "\n"),
    "placed": datetime.datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=datetime.UTC),
    "due": datetime.date(2026, 2, 28),
    "price": decimal.Decimal("12345678901234567890.12"),
    "data": bytes(range(256)),
}
LINES = [{"sku": "ä", "count": 3}, {"sku": "b", "count": -1}]
GOT = {**ORDER, "lines": [("ä", 3), ("b", -1)]}
NOTHING = dict.fromkeys(ORDER) | {"lines": []}


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize(
    ("params", "got"),
    [
        ({"order": {**ORDER, "lines": {"Line": LINES}}, "text": "é"}, (GOT, "é")),
        ({"order": {}, "text": None}, (NOTHING, None)),
        ({}, (None, None)),
        (None, (None, None)),
        ({"text": MEGABYTE}, (None, MEGABYTE)),
    ],
    ids=["typed", "empty", "no params", "nothing", "a megabyte"],
)
def test_soap_after_a_wsdl(servers, version, params, got):
    """Spyne gets the types that its WSDL names; envelope and headers are written by the dispatcher."""
    path = "/soap" + version.replace(".", "")
    called = servers.called(
        f"spyne{version}",
        lambda ap4r: ap4r.async_to(path, params, protocol="soap", action="ReIndex", wsdl=f"{path}?wsdl"),
    )
    assert called == [got]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("text", ["é <&> \r\n", "", MEGABYTE], ids=["unicode", "empty", "a megabyte"])
def test_soap_without_a_wsdl(servers, version, text):
    """Spyne understands the plain envelope of an action and its params."""
    url = servers.url("/soap" + version.replace(".", ""))
    due = datetime.date(2026, 2, 28)

    def call(ap4r):
        params = {"order": {"due": due, "data": b"\x00\xff"}, "text": text}
        ap4r.async_to(url, params, protocol="soap", action="ReIndex", version=version, namespace="urn:shop")

    [(order, got)] = servers.called(f"spyne{version}", call)
    assert (order["due"], order["data"], got or "") == (due, b"\x00\xff", text)


def test_soap_is_what_zeep_itself_would_send(servers):
    """A zeep client, calling the same service, makes it see the same."""
    program = (
        "import datetime, sys, zeep\nfrom decimal import Decimal\n"
        f"order = { ({**ORDER, 'lines': {'Line': LINES}})!r}\n"
        "print(zeep.Client(sys.argv[1]).service.ReIndex(order=order, text='é'))\n"
    )
    url = servers.url("/soap11")

    def call(ap4r):
        command = [sys.executable, "-W", "ignore", "-c", program, f"{url}?wsdl"]
        subprocess.run(command, check=True, timeout=50)
        params = {"order": {**ORDER, "lines": {"Line": LINES}}, "text": "é"}
        ap4r.async_to(url, params, protocol="soap", action="ReIndex", wsdl=f"{url}?wsdl")

    zeeps, ours = servers.called("spyne1.1", call, count=2)
    assert zeeps == ours == (GOT, "é")


def test_a_wsdl_that_refers_to_another_is_read_whole(servers):
    """What a WSDL imports is fetched too, and the service and port can be named."""
    url = servers.url("/soap11")
    called = servers.called(
        "spyne1.1",
        lambda ap4r: ap4r.async_to(
            url, {"text": "x"}, protocol="soap", action="ReIndex", wsdl="/moved", service="Moved", port="Moved"
        ),
    )
    assert called == [(None, "x")]


@pytest.mark.parametrize(
    ("path", "options", "reason", "detail"),
    [
        ("xmlrpc", {"protocol": "xmlrpc", "action": "shop.refuse"}, "fault", "fault 1: <class 'ValueError'>:nö"),
        ("/django/rpc", {"protocol": "xmlrpc", "action": "shop.refuse"}, "fault", "fault 4711: nö"),
        ("/django/rpc", {"protocol": "xmlrpc", "action": "no.such"}, "client_fault", "fault -32601: "),
        ("/jsonrpcserver", {"protocol": "jsonrpc", "action": "shop.refuse"}, "fault", 'error 4711: nö {"why": [1]}'),
        ("/jsonrpcserver", {"protocol": "jsonrpc", "action": "no.such"}, "client_fault", "error -32601: "),
        ("/tinyrpc", {"protocol": "jsonrpc", "action": "shop.refuse"}, "fault", "error -32000: "),
        ("/soap11", {"protocol": "soap", "action": "Refuse", "wsdl": "/soap11?wsdl"}, "fault", "fault Server.Busy: nö"),
        ("/soap12", {"protocol": "soap", "action": "Refuse", "wsdl": "/soap12?wsdl"}, "fault", "fault Receiver"),
    ],
)
def test_a_fault_is_a_failure_and_its_code_and_text_are_kept(servers, path, options, reason, detail):
    """Whatever status it came with."""
    url = servers.xmlrpc if path == "xmlrpc" else servers.url(path)
    params = {"kind": "Server.Busy"} if options["protocol"] == "soap" else [1]
    letter = servers.dead(lambda ap4r: ap4r.async_to(url, params, max_deliveries=1, **options))
    assert letter["reason"] == reason
    assert letter["detail"].startswith(detail)


@pytest.mark.parametrize("path", ["/soap11", "/soap12"])
def test_a_clients_fault_dies_sooner(servers, path):
    """A fault that blames the caller has the smaller cap of a 4xx (here: 5 failures at the default settings)."""
    letter = servers.dead(
        lambda ap4r: ap4r.async_to(
            path, {"kind": "Client.NoSuch"}, protocol="soap", action="Refuse", wsdl=f"{path}?wsdl"
        )
    )
    assert (letter["reason"], letter["message"]["id"] != "") == ("client_fault", True)
    assert letter["failures"] == 5


@pytest.mark.parametrize(
    "options",
    [{"action": "NoSuch"}, {"action": "ReIndex", "port": "NoSuch"}],
)
def test_what_does_not_fit_its_wsdl_is_dead_at_once_and_uncalled(servers, options):
    """No repeat can mend it; the reason says what does not fit."""
    letter = servers.dead(
        lambda ap4r: ap4r.async_to("/soap11", {"text": "x"}, protocol="soap", wsdl="/soap11?wsdl", **options)
    )
    assert (letter["reason"], letter["called"]) == ("not_encodable", False)
    assert "does not fit the WSDL app:/soap11?wsdl" in letter["detail"]
