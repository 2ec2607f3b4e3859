"""What each format makes of the types of Python that it has no type for."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
import json
import re
import types
import uuid
from collections import UserDict
from xml.etree import ElementTree

import attrs
import lxml.etree
import pytest
import yaml
from django.core.files.uploadedfile import SimpleUploadedFile
from werkzeug.datastructures import CombinedMultiDict, FileStorage, MultiDict

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.formats import File, encode_params


def _without_address(value):
    """Return the repr of a value without the address in memory, which differs between the processes of pytest-xdist."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class _Kind(enum.Enum):
    NEW = "new"
    WHEN = datetime.date(2026, 1, 2)


@dataclasses.dataclass
class _Line:
    sku: str
    price: decimal.Decimal


@attrs.define
class _Order:
    id: uuid.UUID
    lines: list[_Line]
    kind: _Kind = _Kind.NEW


ORDER = _Order(uuid.UUID(int=1), [_Line("a", decimal.Decimal("1.50"))])
ZONE = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (datetime.datetime(2026, 1, 2, 3, 4, 5, 6), "2026-01-02T03:04:05.000006"),  # noqa: DTZ001 - both kinds
        (datetime.datetime(2026, 1, 2, tzinfo=ZONE), "2026-01-02T00:00:00+02:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4, 5), "03:04:05"),
        (decimal.Decimal("0.10"), "0.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"\x00\xff"), "AP8="),
        (_Kind.NEW, "new"),
        (_Kind.WHEN, "2026-01-02"),
        (_Line("a", decimal.Decimal(2)), {"sku": "a", "price": "2"}),
        (ORDER, {"id": str(uuid.UUID(int=1)), "lines": [{"sku": "a", "price": "1.50"}], "kind": "new"}),
    ],
    ids=_without_address,
)
def test_json_spells_them_as_documented(value, spelled):
    """Alone, in a list and in a mapping."""
    assert json.loads(encode_params([value], "json")[0]) == [spelled]
    assert json.loads(encode_params({"a": {"b": value}}, "json")[0]) == {"a": {"b": spelled}}


def test_a_form_takes_an_object_with_fields():
    """A dataclass or an attrs object is the mapping of its fields, as in every format."""
    written = "id=00000000-0000-0000-0000-000000000001&lines[][sku]=a&lines[][price]=1.50&kind=new"
    assert encode_params(ORDER, "form")[0].decode() == written


def test_yaml_has_types_of_its_own():
    """Instants, dates and bytes come back as such from a safe reader; nothing else than plain YAML is written."""
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    shared = datetime.date(2026, 1, 2)
    params = {"when": when, "days": [shared, shared], "data": b"\x00\xff", "order": ORDER, "no": "no", "é": "\x07"}
    body, content_type = encode_params(params, "yaml")
    assert content_type == "application/yaml"
    assert b"&id" not in body
    assert yaml.safe_load(body) == {
        **params, "order": {"id": str(uuid.UUID(int=1)), "lines": [{"sku": "a", "price": "1.50"}], "kind": "new"},
    }  # fmt: skip


NO_TEXTS = "12e3 1e5 1E+5 -1.e5 .5 +.5e1 5. 0o17 0x1F -0x1f 08 1_000 0b1 12:30:45 -.inf +.INF .NaN y N no true ~"
TEXTS = "e3 0x 0o 1.2.3 1e 0xg . -. + inf nan yn"


@pytest.mark.parametrize(
    ("text", "style"), [(text, "'") for text in ["", *NO_TEXTS.split()]] + [(text, None) for text in TEXTS.split()]
)
def test_a_text_that_looks_like_a_number_is_quoted_in_yaml(text, style):
    """A reader of YAML 1.1 or 1.2 gets it as the text that it is, as a key and as a value; no other is quoted."""
    [(key, value)] = yaml.compose(encode_params({text: text}, "yaml")[0]).value
    assert (key.value, key.style, value.value, value.style) == (text, style) * 2


@pytest.mark.parametrize("text", ["a: 1\n", "--- 1\n--- 2\n", b"- x"])
def test_text_that_is_yaml_already_is_sent_as_it_is(text):
    """One document or several."""
    assert encode_params(text, "yaml")[0] == (text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.system ['true']", "\t- x"])
def test_text_that_is_no_safe_yaml_is_refused(text):
    """What a safe reader would not take is refused, and never run."""
    with pytest.raises(PayloadNotEncodable, match="safe YAML"):
        encode_params(text, "yaml")


def test_without_pyyaml_the_error_names_the_extra(monkeypatch):
    """In the caller's line, not at the import of ap4r."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(OptionRefused, match=r"ap4r\[yaml\]"):
        encode_params({}, "yaml")


@pytest.mark.parametrize(
    "params",
    [
        "<a>é</a>",
        '<?xml version="1.0" encoding="UTF-8"?><a/>',
        '<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'.encode("latin-1"),
    ],
)
def test_text_that_is_xml_already_is_sent_as_it_is(params):
    """Bytes in whatever encoding they say."""
    body, content_type = encode_params(params, "xml")
    assert body == (params.encode() if isinstance(params, str) else params)
    assert content_type == "application/xml"


@pytest.mark.parametrize(
    ("params", "advice"),
    [
        ("", "not XML|not a valid tree"),
        ("hello", "not XML|not a valid tree"),
        ("<a>", "not XML|not a valid tree"),
        ("<a/><b/>", "not XML|not a valid tree"),
        ("<a>\x00</a>", "not XML|not a valid tree"),
        ('<?xml version="1.0" encoding="latin-1"?><a/>', "give bytes"),
        ('<!DOCTYPE a [<!ENTITY b "x">]><a>&b;</a>', "without entities"),
        (["a"], "give a mapping"),
        (5, "give a mapping"),
        ({"a b": 1}, "the name of an element"),
        ({"a": {"1": 1}}, "the name of an element"),
        ({"x:y": 1}, "the name of an element"),
        ({"a": "\x07"}, "does not allow the character"),
        ({"a": "\ufffe"}, "does not allow the character"),
        (ElementTree.Element("a b"), "not XML|not a valid tree"),
        (ElementTree.Element(None), "not XML|not a valid tree"),
    ],
    ids=_without_address,
)
def test_what_is_no_xml_is_refused(params, advice):
    """In the caller's line, with what to do."""
    with pytest.raises(PayloadNotEncodable, match=advice):
        encode_params(params, "xml")


def test_elements_are_written_as_they_are():
    """Elements and trees, the standard library's and lxml's, with a declaration and without what follows them."""
    element = ElementTree.fromstring("<r><a>é</a>tail</r>")[0]
    other = lxml.etree.fromstring("<r><a>é</a>tail</r>")[0]
    for one in (element, ElementTree.ElementTree(element), other, lxml.etree.fromstring("<a>é</a>").getroottree()):
        assert encode_params(one, "xml")[0].decode() == '<?xml version="1.0" encoding="utf-8"?>\n<a>é</a>'
    assert element.tail == "tail"


def test_a_mapping_is_written_in_xml_as_rails_does():
    """A root `hash`, and a type for all that is not text."""
    params = {"id": 12, "ok": True, "none": None, "tags": ["x", 1.5], "in": {"d": datetime.date(2026, 1, 2)}, "e": ""}
    body = encode_params(params, "xml")[0].decode().partition("\n")[2]
    assert body == (
        '<hash><id type="integer">12</id><ok type="boolean">true</ok><none nil="true"/>'
        '<tags type="array"><item>x</item><item type="float">1.5</item></tags>'
        '<in><d type="date">2026-01-02</d></in><e type="string"></e></hash>'
    )


class _Upload:
    """As werkzeug and Django give an uploaded file."""

    def __init__(self, data, filename, content_type):
        self._stream = io.BytesIO(data)
        self.filename = filename
        self.content_type = content_type

    def read(self):
        return self._stream.read()


def test_files_come_in_several_shapes():
    """A File, bytes, an open file, an upload that is handed on."""
    params = {
        "a": File(b"1", "ä.png", "image/png"),
        "b": b"2",
        "c": io.BytesIO(b"3"),
        "d": _Upload(b"4", "/tmp/x.txt", "text/plain"),
        "e": {"f": [File(b"5"), "text"]},
    }
    body, content_type = encode_params(params, "multipart")
    assert content_type.startswith("multipart/form-data; boundary=ap4r-")
    for head in (
        'name="a"; filename="ä.png"\r\nContent-Type: image/png\r\n\r\n1',
        'name="b"; filename="b"\r\nContent-Type: application/octet-stream\r\n\r\n2',
        'name="c"; filename="c"\r\n',
        'name="d"; filename="x.txt"\r\nContent-Type: text/plain\r\n\r\n4',
        'name="e[f][]"; filename="file"\r\n',
        'name="e[f][]"\r\n\r\ntext',
    ):
        assert f"Content-Disposition: form-data; {head}".encode() in body


class _Pipe(io.BytesIO):
    def seekable(self):
        return False


@pytest.mark.parametrize(
    "file",
    [
        FileStorage(io.BytesIO(b"whole"), "f"),
        SimpleUploadedFile("f", b"whole", "application/octet-stream"),
        io.BytesIO(b"whole"),
    ],
    ids=lambda file: type(file).__name__,
)
def test_a_file_that_was_read_is_handed_on_whole(file):
    """It was saved or read before; it may be handed on twice. A stream gives what is left of it."""
    file.read(2)
    for _ in range(2):
        assert b"\r\n\r\nwhole\r\n--" in encode_params({"f": file}, "multipart")[0]
    stream = _Pipe(b"whole")
    stream.read(2)
    assert b"\r\n\r\nole\r\n--" in encode_params({"f": stream}, "multipart")[0]


def test_a_file_that_cannot_be_read_is_refused_with_its_place():
    """Closed, or open for writing only: the error is that of a value which cannot be written."""
    closed, pipe = io.BytesIO(b"whole"), _Pipe()
    closed.close()
    pipe.close()
    upload = FileStorage(io.BytesIO(b"whole"), "f")
    upload.close()
    for file in (closed, pipe, upload, io.BufferedWriter(io.BytesIO())):
        with pytest.raises(PayloadNotEncodable, match=r'params\["f"\]\[0\].*cannot be read') as refused:
            encode_params({"f": [file]}, "multipart")
        assert refused.value.value is file


@dataclasses.dataclass
class _Letter:
    read: bool
    attached: object


@pytest.mark.parametrize(
    "params",
    [
        MultiDict([("a", "1"), ("f[]", b"2"), ("a", "3")]),
        CombinedMultiDict(
            [MultiDict([("a", "1"), ("a", "3")]), MultiDict([("f[]", FileStorage(io.BytesIO(b"2"), "f[]"))])]
        ),
    ],
    ids=["MultiDict", "CombinedMultiDict"],
)
def test_a_multipart_keeps_all_values_of_a_name(params):
    """What holds several values a name is written flat, as a form is; files are among them."""
    body = encode_params(params, "multipart")[0]
    for head in (
        '"a"\r\n\r\n1',
        '"a"\r\n\r\n3',
        '"f[]"; filename="f[]"\r\nContent-Type: application/octet-stream\r\n\r\n2',
    ):
        assert f"Content-Disposition: form-data; name={head}\r\n".encode() in body
    with pytest.raises(PayloadNotEncodable, match=r'params\["x"\].*several values'):
        encode_params({"x": params}, "multipart")


@pytest.mark.parametrize("kind", [dict, UserDict, types.MappingProxyType, lambda params: _Letter(**params)])
@pytest.mark.parametrize("file", [b"2", bytearray(b"2"), File(b"2", "attached")], ids=_without_address)
def test_files_stand_in_every_kind_of_mapping(kind, file):
    """Mappings that are no dict, and dataclasses, also one with a field `read`, hold files as a dict does."""
    params = {"read": True, "attached": file}
    assert encode_params(kind(params), "multipart") == encode_params({"read": True, "attached": b"2"}, "multipart")
    nested = {"in": [kind(params)]}
    assert b'name="in[][attached]"; filename="attached"\r\n' in encode_params(nested, "multipart")[0]


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({'a"b': "x"}, "the name of the part"),
        ({"a\r\nb": "x"}, "the name of the part"),
        ({"a": File(b"", 'x".png')}, "the filename of the part"),
        ({"a": File(b"", "x\\y")}, "the filename of the part"),
        ({"a": File(b"", "")}, "the filename of the part"),
        ({"a": File(b"", "x", "text/plain\r\nX: 1")}, "the content_type of the file a"),
        ({"a": File("text")}, "the data of the file a"),
        ({"a": io.StringIO("x")}, 'params["a"]'),
        ({"a": {"b": {1}}}, 'params["a"]["b"]'),
        ([b"x"], "params"),
    ],
    ids=_without_address,
)
def test_what_parts_cannot_say_is_refused(params, where):
    """No name may end its own quotes, and no type may add a header."""
    with pytest.raises(PayloadNotEncodable) as refused:
        encode_params(params, "multipart")
    assert refused.value.where.startswith(where)
