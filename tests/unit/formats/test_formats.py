"""Formats: what is written is read back as it was meant, or refused with its place named."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import re
import types
import uuid
from urllib.parse import parse_qs, parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import EnvironBuilder

from ap4r.errors import OptionRefused, PayloadNotEncodable, PayloadTooLarge
from ap4r.formats import FORMATS, MAX_DEPTH, SizeLimit, encode_form, encode_params
from ap4r.formats.form import nested_form

FORM = "application/x-www-form-urlencoded"


class _Colour(enum.StrEnum):
    RED = "r&d"


class _Mixed(str, enum.Enum):  # noqa: UP042 - the kind whose str() is not its value
    GREEN = "green"


class _Level(enum.IntEnum):
    HIGH = 3


class _Number(int, enum.Enum):
    FOUR = 4


class _Plain(enum.Enum):
    ONE = 1


class _Loud(float):
    def __repr__(self):
        return "loud"


class _Pair(tuple):
    __slots__ = ()


@pytest.mark.parametrize(
    ("params", "form"),
    [
        ({}, ""),
        ({"id": 12, "name": "a b"}, "id=12&name=a+b"),
        ({"a": {"b": 1, "c": {"d": 2}}, "e": 3}, "a[b]=1&a[c][d]=2&e=3"),
        ({"tags": ["x", "y"]}, "tags[]=x&tags[]=y"),
        ({"a": {"tags": ("x", 1, None, True)}}, "a[tags][]=x&a[tags][]=1&a[tags][]=&a[tags][]=true"),
        ({"a": None, "b": True, "c": False, "d": 0, "e": ""}, "a=&b=true&c=false&d=0&e="),
        ({"a": {}, "b": [], "c": {"d": []}}, ""),
        ({1: "x", "a": {2: "y"}}, "1=x&a[2]=y"),
        ({"a[b]": 1, "tags[]": "x"}, "a[b]=1&tags[]=x"),
        ({"f": 1.5, "g": 1e22, "h": -0.0}, "f=1.5&g=1e%2B22&h=-0.0"),
        ({"d": decimal.Decimal("1.50"), "n": 10**30}, "d=1.50&n=1" + "0" * 30),
        ({"u": uuid.UUID(int=1)}, "u=00000000-0000-0000-0000-000000000001"),
        (
            {"t": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "d": datetime.date(2026, 1, 2)},
            "t=2026-01-02T03%3A04%3A05%2B00%3A00&d=2026-01-02",
        ),
        ({"c": _Colour.RED, "m": _Mixed.GREEN, "l": _Level.HIGH, "n": _Number.FOUR}, "c=r%26d&m=green&l=3&n=4"),
        ({_Mixed.GREEN: 1, _Level.HIGH: {_Number.FOUR: 2}}, "green=1&3[4]=2"),
        ({"f": _Loud(1.5), "p": _Pair((1, 2))}, "f=1.5&p[]=1&p[]=2"),
        ({"é&=+%": "ü\r\n;/?"}, "%C3%A9%26%3D%2B%25=%C3%BC%0D%0A%3B%2F%3F"),
        (types.MappingProxyType({"a": 1}), "a=1"),
        (MultiDict([("a", "1"), ("b[]", "2"), ("a", "3")]), "a=1&a=3&b[]=2"),
    ],
)
def test_a_form_is_written_as_ap4r_wrote_it(params, form):
    """Nested mappings in brackets, lists with empty ones, enums by their value, nothing twice encoded."""
    assert encode_form(params) == form
    assert encode_params(params, "form") == (form.encode(), FORM)


@pytest.mark.parametrize(
    ("params", "document"),
    [
        ({}, "{}"),
        ([], "[]"),
        (5, "5"),
        ({"id": 12, "name": "é€😀\u2028"}, '{"id":12,"name":"é€😀\u2028"}'),
        ({"a": [{"b": None}, [True, 1.5]], "c": ()}, '{"a":[{"b":null},[true,1.5]],"c":[]}'),
        ({1: {"": "x"}, "a[b]": 1}, '{"1":{"":"x"},"a[b]":1}'),
        ({_Mixed.GREEN: _Colour.RED, _Number.FOUR: _Level.HIGH}, '{"green":"r&d","4":3}'),
        ({"f": _Loud(1.5), "p": _Pair((1, _Number.FOUR))}, '{"f":1.5,"p":[1,4]}'),
        (types.MappingProxyType({"a": types.MappingProxyType({})}), '{"a":{}}'),
        ({"n": 10**30}, '{"n":1' + "0" * 30 + "}"),
    ],
)
def test_json_is_plain_and_compact(params, document):
    """JSON in UTF-8 without blanks, from every mapping, list and subclass of a plain value."""
    assert encode_params(params, "json") == (document.encode(), "application/json")


@pytest.mark.parametrize(
    ("format", "of_text", "of_bytes"),
    [
        ("form", "text/plain; charset=utf-8", "application/octet-stream"),
        ("text", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("raw", "application/octet-stream", "application/octet-stream"),
    ],
)
def test_text_and_bytes_go_as_they_are(format, of_text, of_bytes):
    """A str or bytes is not touched; only its content type follows from the format."""
    for text in ("a=1&b=é\r\n", "", _Mixed.GREEN):
        assert encode_params(text, format) == (str.encode(text), of_text)
    for data in (b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00.\xff.")[::2]):
        assert encode_params(data, format) == (b"\x00\xff", of_bytes)
    assert encode_params(None, format) == (b"", None)


@pytest.mark.parametrize("text", ['{"a": 1}', " [1, 2]\n", '"é"', "null", "1.50"])
def test_text_that_is_json_already_is_sent_as_it_is(text):
    """A str or bytes of JSON is passed on unchanged."""
    for params in (text, text.encode()):
        assert encode_params(params, "json") == (text.encode(), "application/json")


@pytest.mark.parametrize("text", ["hello", "", "NaN", "[Infinity]", "{'a': 1}", "[" * 100_000, "1 2"])
def test_text_that_is_no_json_is_refused(text):
    """What its receiver could not read is refused in the caller's line, with what to do."""
    for params in (text, text.encode()):
        with pytest.raises(PayloadNotEncodable, match=r"json\.dumps"):
            encode_params(params, "json")
    with pytest.raises(PayloadNotEncodable, match="json"):
        encode_params('{"a": 1}'.encode("utf-16"), "json")


@pytest.mark.parametrize("format", ["", "FORM", "xlm", None, 1, ["form"], {}], ids=repr)
def test_an_unknown_format_is_refused(format):
    """A format is one of seven words, and the refusal lists them."""
    with pytest.raises(OptionRefused, match="form, json, text, xml, yaml, multipart, raw"):
        encode_params({}, format)


def _cycle(kind):
    inner = {} if kind is dict else []
    if kind is dict:
        inner["a"] = inner
    else:
        inner.append(inner)
    return {"x": inner}


def _deep(levels):
    value = 1
    for _ in range(levels):
        value = {"a": value}
    return value


REFUSED_BY_BOTH = [
    ({"a": {"b": {1, 2}}}, 'params["a"]["b"]', "set"),
    ({"a": (number for number in [1])}, 'params["a"]', "generator"),
    ({"a": {"x": 1}.keys()}, 'params["a"]', "dict_keys"),
    ({"a": object()}, 'params["a"]', "object"),
    ({"a": 1j}, 'params["a"]', "complex"),
    ({"a": float("nan")}, 'params["a"]', "float"),
    ({"a": {"b": float("-inf")}}, 'params["a"]["b"]', "float"),
    ({"a": decimal.Decimal("NaN")}, 'params["a"]', "Decimal"),
    ({"a": decimal.Decimal("sNaN")}, 'params["a"]', "Decimal"),
    ({"a": 10**5_000}, 'params["a"]', "int"),
    ({"a": -(10**5_000)}, 'params["a"]', "int"),
    ({"a": {10**5_000: 1}}, "the key", "int"),
    ({"a": "x\ud800"}, 'params["a"]', "str"),
    ({"a\udfff": 1}, "the key 'a\\udfff' of params", "str"),
    ({"a": {None: 1}}, 'the key None of params["a"]', "NoneType"),
    ({True: 1}, "the key True of params", "bool"),
    ({1.5: 1}, "the key 1.5 of params", "float"),
    ({(1, 2): 1}, "the key (1, 2) of params", "tuple"),
    ({b"a": 1}, "the key b'a' of params", "bytes"),
    ({1: "x", "1": "y"}, "the key '1' of params", "str"),
    ({"a": {_Number.FOUR: 1, "4": 2}}, "the key '4' of params[\"a\"]", "str"),
    ({"a": MultiDict([("b", "1")])}, 'params["a"]', "MultiDict"),
    (_cycle(dict), 'params["x"]["a"]["a"]', "dict"),
    (_deep(MAX_DEPTH + 1), 'params["a"]["a"]["a"]', "int"),
    (_deep(50_000), 'params["a"]["a"]["a"]', "dict"),
    ({1, 2}, "params", "set"),
    (object(), "params", "object"),
    ((number for number in [1]), "params", "generator"),
]


@pytest.mark.parametrize("format", ["form", "json"])
@pytest.mark.parametrize(("params", "where", "kind"), REFUSED_BY_BOTH, ids=[row[1] for row in REFUSED_BY_BOTH])
def test_what_cannot_be_written_is_refused_with_its_place(params, where, kind, format):
    """Neither format guesses, coerces a key, drops a value or runs out of stack: the error names the place."""
    with pytest.raises(PayloadNotEncodable) as refused:
        encode_params(params, format)
    error = refused.value
    assert error.where.startswith(where)
    assert type(error.value).__name__ == kind
    assert error.format == format
    assert len(str(error)) < 500


REFUSED_BY_FORM = [
    ({"x": [[1, 2], [3]]}, 'params["x"][0]', "format='json'"),
    ({"x": [{"a": 1}, {"b": 2}]}, 'params["x"][1]', "format='json'"),
    ({"x": [{}]}, 'params["x"][0]', "format='json'"),
    ({"a": b"x"}, 'params["a"]', "multipart"),
    ({"": 1}, "the key '' of params", "brackets"),
    ({"a": {"": 1}}, "the key '' of params[\"a\"]", "brackets"),
    ({"a[b]": {"c": 1}}, "the key 'a[b]' of params", "brackets"),
    ({"a[]": [1]}, "the key 'a[]' of params", "brackets"),
    ({"a": {"b]": 1}}, "the key 'b]' of params[\"a\"]", "brackets"),
    ({"a": {"[": 1}}, "the key '[' of params[\"a\"]", "brackets"),
    ([1, 2], "params", "give a mapping"),
    (5, "params", "give a mapping"),
]


@pytest.mark.parametrize(("params", "where", "advice"), REFUSED_BY_FORM, ids=repr)
def test_a_form_never_says_something_else(params, where, advice):
    """What Rack or PHP would read back differently (items merged, keys split) is refused; JSON is advised."""
    with pytest.raises(PayloadNotEncodable) as refused:
        encode_params(params, "form")
    assert refused.value.where == where
    assert advice in refused.value.advice


def test_json_refuses_what_holds_several_values_a_name():
    """A MultiDict as JSON would lose all values but one."""
    with pytest.raises(PayloadNotEncodable, match="several values"):
        encode_params(MultiDict([("a", "1"), ("a", "2")]), "json")


@pytest.mark.parametrize(
    ("params", "where"), [(_cycle(list), 'params["x"][0][0]'), ({"a": [1, {"b": {1}}]}, 'params["a"][1]["b"]')]
)
def test_json_names_the_index_in_a_list(params, where):
    """The error gives the place of a bad value inside a list by its index."""
    with pytest.raises(PayloadNotEncodable) as refused:
        encode_params(params, "json")
    assert refused.value.where.startswith(where)


@pytest.mark.parametrize("format", ["text", "raw"])
@pytest.mark.parametrize("params", [{}, {"a": 1}, [1], 5, True])
def test_text_and_raw_take_no_structure(format, params):
    """A mapping has no form as text: the error says what to do."""
    with pytest.raises(PayloadNotEncodable, match="give a str or bytes"):
        encode_params(params, format)


@pytest.mark.parametrize("format", FORMATS)
def test_text_with_a_lone_surrogate_is_refused(format):
    """A str that no encoding can write is refused in every format."""
    with pytest.raises(PayloadNotEncodable, match="surrogate"):
        encode_params("a\udc80", format)


def test_depth_up_to_the_limit_is_written():
    """The deepest mapping that is allowed is written by both formats."""
    assert encode_form(_deep(MAX_DEPTH)) == "a" + "[a]" * (MAX_DEPTH - 1) + "=1"
    assert json.loads(encode_params(_deep(MAX_DEPTH), "json")[0]) == _deep(MAX_DEPTH)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NAMES = TEXT.filter(bool)
PLAIN_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1, max_size=10)
TREES = st.dictionaries(
    PLAIN_NAMES,
    st.recursive(
        TEXT | st.lists(TEXT, min_size=1, max_size=4),
        lambda inner: st.dictionaries(PLAIN_NAMES, inner, min_size=1, max_size=4),
        max_leaves=15,
    ),
    max_size=4,
)


@given(st.dictionaries(NAMES, TEXT))
def test_a_flat_mapping_round_trips(params):
    """A flat mapping of any text is read back by urllib and by werkzeug as it was."""
    body, content_type = encode_params(params, "form")
    assert parse_qs(body.decode(), keep_blank_values=True, strict_parsing=bool(body)) == {
        name: [value] for name, value in params.items()
    }
    request = EnvironBuilder(method="POST", data=body, content_type=content_type).get_request()
    assert request.form.to_dict(flat=False) == {name: [value] for name, value in params.items()}


def _read_nested(body):
    """Read a form as Rack and PHP do: `a[b]` is a key in a mapping, a last `[]` the next item of a list."""
    root = {}
    for name, value in parse_qsl(body, keep_blank_values=True):
        head, brackets = re.fullmatch(r"([^\[]+)((?:\[[^\]]*\])*)", name, re.DOTALL).groups()
        keys = [head, *re.findall(r"\[([^\]]*)\]", brackets)]
        is_item = keys[-1] == ""
        if is_item:
            keys.pop()
        place = root
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        if is_item:
            place.setdefault(keys[-1], []).append(value)
        else:
            assert keys[-1] not in place
            place[keys[-1]] = value
    return root


@given(TREES)
def test_a_nested_mapping_round_trips(params):
    """Mappings of mappings, texts and lists of texts are read back unchanged by parsers of brackets."""
    assert _read_nested(encode_form(params)) == params


@given(st.lists(st.tuples(NAMES, TEXT)))
def test_a_multidict_round_trips(pairs):
    """A form that came in with several values a name goes out with the same values in the same order a name."""
    form = MultiDict(pairs)
    assert MultiDict(parse_qsl(encode_form(form), keep_blank_values=True)) == form


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES.filter(lambda value: value is not None and not isinstance(value, str)))
def test_json_round_trips(params):
    """Whatever JSON can say is read back as it was."""
    assert json.loads(encode_params(params, "json")[0]) == params


ODD = st.recursive(
    st.none()
    | st.text()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.binary()
    | st.dates()
    | st.sampled_from([_Plain.ONE, _Mixed.GREEN, object(), {1}, range(2), 1j]),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none() | st.booleans() | st.floats(), inner)
    ),
    max_leaves=10,
)


@given(ODD, st.sampled_from(FORMATS))
def test_anything_is_written_or_refused(params, format):
    """Any value in any format becomes bytes with a content type, or PayloadNotEncodable; nothing else."""
    try:
        body, content_type = encode_params(params, format)
    except PayloadNotEncodable as refused:
        assert refused.where.startswith(("params", "the key", "the name of the part"))
    else:
        assert isinstance(body, bytes)
        assert (content_type is None) == (params is None)
        if format == "form" and isinstance(params, dict):
            assert re.fullmatch(rb"[!-~]*", body)


def test_a_list_of_mappings_is_read_back_by_the_rule_of_rack():
    """Each mapping of a list begins with the key that the one before it already has, which is where Rack begins one."""
    written = encode_form({"items": [{"id": 1, "name": "a"}, {"id": 2, "tags": ["x", "y"]}]})
    assert written == "items[][id]=1&items[][name]=a&items[][id]=2&items[][tags][]=x&items[][tags][]=y"


@pytest.mark.parametrize("code", range(128))
def test_a_character_is_quoted_as_the_standard_library_quotes_it(code):
    """Whatever way a form takes: flat, or nested, where every name and value goes the longer one."""
    written = quote_plus(chr(code), safe="[]*")
    assert encode_form({"a": f"x{chr(code)}y"}) == f"a=x{written}y"
    assert encode_form({"a": f"x{chr(code)}é"}) == f"a=x{written}%C3%A9"
    assert encode_form({"a": {"b": chr(code)}}) == f"a[b]={written}"


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers(-(2**70), 2**70), min_size=1))
def test_a_flat_form_is_written_as_a_nested_one_would_be(params):
    """The short way of plain forms changes neither a byte nor what is refused."""
    assert outcome(lambda: encode_params(params, "form")) == outcome(lambda: nested_form(params, SizeLimit()))


def outcome(act):
    """Return the result, or the text of the error."""
    try:
        return act()
    except PayloadNotEncodable as error:
        return str(error)


def test_a_flat_form_stops_at_the_limit_in_any_alphabet():
    """A text of three bytes a character becomes nine times as long: it is counted so."""
    for text in ("x" * 100, "=" * 100, "語" * 100):
        size = len(quote_plus(text)) + 2
        assert len(encode_params({"a": text}, "form", size)[0]) == size
        with pytest.raises(PayloadTooLarge):
            encode_params({"a": text}, "form", size - 1)
