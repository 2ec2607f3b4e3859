"""Bodies stop at their limit while they are written: what is large only once it is written is never made."""

from __future__ import annotations

import io
import json

import pytest

from ap4r.describe.describe import describe_message
from ap4r.errors import PayloadNotEncodable, PayloadTooLarge
from ap4r.formats import File, encode_params, plain_values, size_limit
from ap4r.message.message import new_id
from ap4r.settings.settings import Settings

LIMIT = 64 * 1024
LIMITS = Settings(max_body_bytes=LIMIT)
FORMATS = [{"format": name} for name in ("form", "json", "xml", "yaml", "multipart")]
PROTOCOLS = [
    {"protocol": "xmlrpc", "action": "a"},
    {"protocol": "jsonrpc", "action": "a"},
    {"protocol": "soap", "action": "a"},
    {"protocol": "soap", "action": "a", "options": {"wsdl": "/wsdl"}},
]


def doubled(leaf, wrap):
    """Create a value that holds another twice, 60 times over: what the aliases of YAML make of 60 lines."""
    value = leaf
    for _ in range(60):
        value = wrap(value)
    return value


def nested(value, depth):
    """Put a value into a list that stands in a list, and so on."""
    for _ in range(depth):
        value = [value]
    return value


LARGE = {
    "doubled mappings": doubled({"x": 1}, lambda inner: {"a": inner, "b": inner}),
    "empty mappings": doubled({}, lambda inner: {"a": inner, "b": inner}),
    "one text many times": {f"k{index}": "x" * LIMIT for index in range(1_000)},
    "many values": {"a": [1] * LIMIT},
    "many keys": {f"k{index}": index for index in range(LIMIT)},
}
#: Written many times, or in many characters for one, by some formats only.
GROWING = {
    "a long name over many values": ({"k" * 5_000: [1] * 5_000}, ("form", "multipart", "soap")),
    "control characters": ({"a": "\x01" * 40_000}, ("form", "json", "yaml", "jsonrpc", "typed")),
    "ampersands": ({"a": "&" * 40_000}, ("form", "xml", "xmlrpc", "soap")),
    "depth": ({"a": nested(["x"] * 2_000, 40)}, ("yaml",)),
}


def name_of(options):
    """Name a way of writing."""
    return "typed" if "options" in options else options.get("format") or options["protocol"]


@pytest.mark.parametrize("options", FORMATS + PROTOCOLS, ids=name_of)
@pytest.mark.parametrize("what", LARGE)
def test_a_value_that_is_too_large_is_refused_in_the_callers_line(what, options):
    """Every format and protocol counts while it reads and writes; the error names the setting."""
    with pytest.raises(PayloadTooLarge, match="max_body_bytes") as caught:
        describe_message("/x", LARGE[what], limits=LIMITS, **options)
    assert caught.value.limit == LIMIT < caught.value.size


@pytest.mark.parametrize("what", GROWING)
def test_what_grows_by_being_written_stops_at_the_limit(what):
    """Names that are repeated, escapes and indentation count as they are written, and not only afterwards."""
    params, growing = GROWING[what]
    for options in FORMATS + PROTOCOLS:
        if name_of(options) in growing:
            with pytest.raises(PayloadTooLarge) as caught:
                describe_message("/x", params, limits=LIMITS, **options)
            # Not much more than the limit was ever made: what one value may become.
            assert caught.value.size < 6 * 40_000 + LIMIT


@pytest.mark.parametrize("options", FORMATS + PROTOCOLS, ids=name_of)
def test_what_fits_exactly_is_taken(options):
    """The count is no estimate: a body of the very limit passes, and one byte more does not."""
    params = {"a": ["é&\r", 1], "b": {"c": True}}
    body = describe_message("/x", params, limits=LIMITS, **options).body
    assert describe_message("/x", params, limits=Settings(max_body_bytes=len(body)), **options).body
    with pytest.raises(PayloadTooLarge):
        describe_message("/x", params, limits=Settings(max_body_bytes=len(body) - 1), **options)


@pytest.mark.parametrize("options", [*FORMATS, *PROTOCOLS], ids=name_of)
def test_an_integer_of_too_many_digits_is_refused_whatever_python_allows(options, monkeypatch):
    """Writing one takes the square of its digits, and a process may have lifted Python's own limit."""
    monkeypatch.setattr("sys.set_int_max_str_digits", None)
    with pytest.raises(PayloadNotEncodable, match="too many digits"):
        describe_message("/x", {"a": 1 << 20_000}, limits=LIMITS, **options)


def test_json_that_is_a_text_may_have_numbers_of_any_length():
    """It is checked without making numbers of them, which takes the square of their digits."""
    text = "9" * 50_000
    assert describe_message("/x", text, format="json", limits=LIMITS).body == text.encode()


class Endless(io.RawIOBase):
    """A file without an end."""

    def __init__(self):
        super().__init__()
        self.given = 0

    def read(self, size=-1):
        assert size >= 0, "read whole"
        self.given += min(size, 10_000)
        return b"x" * min(size, 10_000)


def test_a_file_is_read_to_the_limit_only():
    """A visitor's upload of gigabytes is never in memory as a whole."""
    file = Endless()
    with pytest.raises(PayloadTooLarge):
        describe_message("/x", {"a": file}, format="multipart", limits=LIMITS)
    assert file.given <= LIMIT + 1
    with pytest.raises(PayloadTooLarge):
        describe_message("/x", {"a": File(b"x" * LIMIT)}, format="multipart", limits=LIMITS)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'}, *a]\n" for n in range(200)),
        "a: &a {x: 1}\n"
        + "".join(f"b{n}: &b{n} {{<<: [*p, *p]}}\n".replace("*p", "*a" if n == 0 else f"*b{n - 1}") for n in range(60)),
    ],
    ids=["aliases", "merges"],
)
def test_aliases_and_merges_of_yaml_are_looked_at_once_each(text):
    """A text of a few lines is checked in the time of a few lines, whatever a reader would make of it."""
    assert describe_message("/x", text, format="yaml", limits=LIMITS).body == text.encode()


@pytest.mark.parametrize("text", ["a: " + "1:" * 4_000 + "1", "a: !!int " + "9" * 5_000])
def test_a_number_of_thousands_of_characters_is_no_safe_yaml(text):
    """A reader takes the square of its length to make it."""
    with pytest.raises(PayloadNotEncodable, match="characters"):
        describe_message("/x", text, format="yaml", limits=LIMITS)


def test_a_namespace_with_a_long_name_is_refused():
    """A reader writes it before every name in it."""
    with pytest.raises(PayloadNotEncodable, match="namespace"):
        describe_message("/x", f'<a xmlns:n="{"u" * 2_000}"><n:b/></a>', format="xml", limits=LIMITS)


def test_a_header_of_soap_counts_too():
    """It stands in the body."""
    for options in ({}, {"wsdl": "/wsdl"}):
        with pytest.raises(PayloadTooLarge):
            describe_message(
                "/x", {}, protocol="soap", action="a", limits=LIMITS, options={"header": LARGE["many keys"], **options}
            )


@pytest.mark.parametrize("options", FORMATS + PROTOCOLS, ids=name_of)
@pytest.mark.parametrize("wrap", [list, lambda items: dict(enumerate(items))], ids=["lists", "mappings"])
def test_what_stands_in_a_value_many_times_is_looked_at_once(options, wrap, monkeypatch):
    """A list that holds one list a thousand times costs no more than the two; its bytes count each time."""
    looked_at = []
    leaf = plain_values._leaf
    monkeypatch.setattr(plain_values, "_leaf", lambda value, *more: looked_at.append(value) or leaf(value, *more))
    value = wrap(["x"] * 1_000)
    for _ in range(3):
        value = wrap([value] * 1_000)
    with pytest.raises(PayloadTooLarge):
        describe_message("/x", {"a": value}, limits=LIMITS, **options)
    assert len(looked_at) <= 1_000


@pytest.mark.parametrize("options", FORMATS + PROTOCOLS, ids=name_of)
def test_what_stands_in_a_value_twice_is_written_twice(options):
    """As if it were two values: the same bytes, at any depth, and a limit that fits them exactly."""
    inner = {"id": 1, "text": "a<&", "more": {"b": 2.5, "c": True}}
    shared = {"first": inner, "second": {"again": inner}, "third": inner["more"]}
    apart = json.loads(json.dumps(shared))
    named = {"message_id": new_id(), **options}
    body = describe_message("/x", apart, limits=LIMITS, **named).body
    exact = Settings(max_body_bytes=len(body))
    assert describe_message("/x", shared, limits=exact, **named).body == body


def test_what_is_deep_enough_where_it_stands_first_may_be_too_deep_elsewhere():
    """The depth counts from the whole value, for each place."""
    deep = nested("x", 40)
    assert encode_params({"a": deep}, "json")
    with pytest.raises(PayloadNotEncodable, match="nested deeper than 64"):
        encode_params({"a": deep, "b": nested(deep, 30)}, "json")


@pytest.mark.parametrize("value", ["x", "", None, 1, [], {}, [[]], [1], [1, 2], {"a": 1}, {"": [None, {}]}, [[], [[]]]])
@pytest.mark.parametrize("format", ["json", "xml", "yaml"])
def test_a_limit_that_fits_exactly_is_enough(value, format):
    """What is counted before it is written is never more than what is written."""
    params = value if format != "xml" else {"v": [1]} if value in ({"": [None, {}]},) else {"v": value}
    body = encode_params(params if not isinstance(params, str) else [params], format)[0]
    assert encode_params(params if not isinstance(params, str) else [params], format, len(body))[0] == body


class SlowClock:
    """Stands in for `time`: a millisecond is over each time that it is read."""

    def __init__(self):
        self.now, self.rests = 0.0, []

    def monotonic(self):
        self.now += 0.001
        return self.now

    def sleep(self, seconds):
        self.rests.append(seconds)


@pytest.mark.parametrize("options", FORMATS, ids=lambda options: options["format"])
def test_what_takes_long_rests(monkeypatch, options):
    """Other threads of the process get the interpreter each millisecond; a short body is written without a rest."""
    clock = SlowClock()
    monkeypatch.setattr(size_limit, "time", clock)
    encode_params({"a": list(range(20))}, options["format"], 2**20)
    assert clock.rests == []
    encode_params({"a": list(range(5_000))}, options["format"], 2**20)
    assert len(clock.rests) >= 50
    assert all(0 < seconds < 0.001 for seconds in clock.rests)
