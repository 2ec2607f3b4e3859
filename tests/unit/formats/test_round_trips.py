"""Whatever a format can say is read back as it was, by parsers that others wrote."""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import re
from contextlib import closing
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import yaml
from defusedxml.ElementTree import fromstring
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from ap4r.errors import PayloadNotEncodable
from ap4r.formats import File, encode_form, encode_params
from tests.support.django_settings import configure

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
XML_TEXT = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r"
    ),
    max_size=20,
)
ELEMENTS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1, max_size=8)
INSTANTS = st.datetimes(timezones=st.none() | st.just(datetime.UTC))


def _php(pairs):
    """Read names as PHP does (php_register_variable_ex): `[]` is the next number, `[x]` a key; lists are at the end."""
    root = {}
    for name, value in pairs:
        head, brackets = re.fullmatch(r"([^\[]+)((?:\[[^\]]*\])*)", name, re.DOTALL).groups()
        keys, place = [head, *re.findall(r"\[([^\]]*)\]", brackets)], root
        for position, key in enumerate(keys):
            key = key if key or not position else str(len(place))
            if position == len(keys) - 1:
                place[key] = value
            else:
                place = place.setdefault(key, {})
    return root


def _as_php(value):
    """Return a value as PHP has it: a list is an array with numbers as keys."""
    if isinstance(value, dict):
        return {key: _as_php(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return {str(index): _as_php(inner) for index, inner in enumerate(value)}
    return value


@given(
    st.dictionaries(
        NAMES,
        st.recursive(
            TEXT | st.lists(TEXT, min_size=1, max_size=4),
            lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=4),
            max_leaves=10,
        ),
        max_size=4,
    )
)
def test_a_form_is_read_back_by_the_rules_of_php(params):
    """Mappings and lists at any depth."""
    assert _php(parse_qsl(encode_form(params), keep_blank_values=True)) == _as_php(params)


YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
    | st.binary(max_size=20) | st.dates() | st.datetimes(timezones=st.none() | st.just(datetime.UTC)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(YAML_VALUES.filter(lambda value: not isinstance(value, (str, bytes)) and value is not None))
@example({"a\x85b": ["\u2028", "\u2029c", "\ufeff"]})
def test_yaml_is_read_back_by_a_safe_reader(params):
    """With its instants, dates and bytes, and the line breaks that are no line breaks elsewhere."""
    assert yaml.safe_load(encode_params(params, "yaml")[0]) == params


#: What the core schema takes for something else than text (YAML 1.2.2, 10.3.2), in the specification's own words.
YAML_CORE = re.compile(
    r"null|Null|NULL|~||true|True|TRUE|false|False|FALSE|[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
)


@given(st.dictionaries(st.text("0123456789_+-.eExXoOaF", max_size=8) | st.from_regex(YAML_CORE, fullmatch=True), TEXT))
def test_a_text_is_no_number_to_a_reader_of_yaml_1_2(params):
    """What stands there without quotes is text by the core schema too."""
    for pair in yaml.compose(encode_params(params, "yaml")[0]).value:
        assert not [one.value for one in pair if one.style is None and YAML_CORE.fullmatch(one.value)]


def _from_xml(element):
    """Read a value as Rails' Hash.from_xml does."""
    kind, text = element.get("type"), element.text or ""
    if element.get("nil") == "true":
        return None
    if kind == "array":
        return [_from_xml(item) for item in element]
    readers = {
        "integer": int, "float": float, "decimal": decimal.Decimal, "boolean": lambda text: text == "true",
        "date": datetime.date.fromisoformat, "dateTime": datetime.datetime.fromisoformat,
        "base64Binary": base64.b64decode, "string": str,
    }  # fmt: skip
    if kind is not None:
        return readers[kind](text)
    # A mapping without keys and an empty text differ by the type of the text.
    return {child.tag: _from_xml(child) for child in element} if len(element) or not element.text else text


XML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | XML_TEXT
    | st.binary(max_size=20) | st.dates() | INSTANTS | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ELEMENTS, inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(st.dictionaries(ELEMENTS, XML_VALUES, max_size=4))
def test_a_mapping_as_xml_is_read_back(params):
    """With the types that Rails reads."""
    assert _from_xml(fromstring(encode_params(params, "xml")[0])) == params


@given(ELEMENTS, XML_TEXT, st.dictionaries(ELEMENTS, XML_TEXT, max_size=3))
def test_an_element_is_read_back(tag, text, attributes):
    """Text and attributes, though readers make every bare carriage return a line feed (XML 1.0, 2.11)."""
    element = ElementTree.Element(tag, attributes)
    element.text = text
    read = fromstring(encode_params(element, "xml")[0])
    assert read.tag == tag
    assert (read.text or "") == text.replace("\r\n", "\n").replace("\r", "\n")
    assert read.attrib == attributes


PART_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters='"\\[]%'),
    min_size=1, max_size=10,
)  # fmt: skip
FILES = st.builds(
    File,
    data=st.binary(max_size=200),
    filename=st.from_regex(r"[a-zäö€ _-]{0,8}[a-zé]\.[a-z]{1,3}", fullmatch=True),
    content_type=st.sampled_from(["image/png", "text/plain", "application/octet-stream"]),
)


@given(st.dictionaries(PART_NAMES, TEXT | FILES, max_size=5))
def test_multipart_is_read_back_by_werkzeug(params):
    """Texts and files, with names and types."""
    body, content_type = encode_params(params, "multipart")
    environ = {
        "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": content_type,
        "REQUEST_METHOD": "POST",
    }  # fmt: skip
    _, form, files = parse_form_data(environ)
    read = form.to_dict()
    for name, file in files.items():
        with closing(file):
            read[name] = File(file.read(), file.filename, file.mimetype)
    assert read == params


@given(st.dictionaries(PART_NAMES.map(str.strip).filter(bool), TEXT | FILES, max_size=5))
def test_multipart_is_read_back_by_django(params):
    """Texts and files, with names and types; Django leaves out blanks around a name."""
    configure()
    body, content_type = encode_params(params, "multipart")
    meta = {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": content_type}
    form, files = MultiPartParser(meta, io.BytesIO(body), [MemoryFileUploadHandler()], "utf-8").parse()
    read = form.dict()
    for name, file in files.items():
        read[name] = File(file.read(), file.name, file.content_type)
    assert read == params


@given(st.binary(max_size=300))
def test_no_boundary_stands_in_what_it_bounds(data):
    """Even where the content is what another form was."""
    first, _ = encode_params({"a": data}, "multipart")
    second, content_type = encode_params({"a": first}, "multipart")
    boundary = content_type.partition("boundary=")[2].encode()
    assert second.count(b"--" + boundary) == 2


@given(TEXT, st.binary(max_size=300))
def test_text_and_bytes_are_sent_as_they_are(text, data):
    """Text in UTF-8, and whatever bytes there are."""
    assert encode_params(text, "text")[0].decode() == text
    assert encode_params(text, "raw")[0].decode() == text
    assert encode_params(data, "raw")[0] == data


@given(st.recursive(st.text() | st.binary() | st.floats() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5), st.sampled_from(["xml", "yaml", "multipart"]))  # fmt: skip  # noqa: E501
def test_anything_is_written_or_refused(params, format):
    """With the place, and never with another error."""
    try:
        body, _ = encode_params(params, format)
    except PayloadNotEncodable as refused:
        assert refused.where
    else:
        assert isinstance(body, bytes)
