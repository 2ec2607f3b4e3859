"""Options of a message, and the errors for wrong ones."""

from __future__ import annotations

import datetime
import json
import math
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.describe.describe import describe_message
from ap4r.errors import MessageError, OptionRefused, PayloadNotEncodable, PayloadTooLarge, TargetRefused
from ap4r.message.message import Delivery
from ap4r.message.target import Target
from ap4r.settings.settings import Settings

LIMITS = Settings()


def describe(target="/work", params=None, **options):
    """Describe with default limits."""
    return describe_message(target, params, **{"limits": LIMITS, **options})


def test_the_plainest_message():
    """A path alone is a POST without body to this application, under a queue made from the path."""
    message = describe("/search/reindex")
    assert message.target == Target("/search/reindex", "app")
    assert (message.queue, message.method, message.headers, message.body) == (
        "queue.search.reindex",
        "POST",
        (),
        b"",
    )
    assert (message.delivery, message.delay_seconds, message.deliver_at) == (Delivery.REPEATED, 0.0, None)
    assert (message.expires_seconds, message.max_deliveries, message.timeout_seconds) == (None, None, None)


def test_everything_that_can_be_said():
    """Each option arrives where it belongs."""
    message = describe(
        {"url": "http://neighbour:8080/x"},
        {"id": 12},
        queue="mail",
        method="put",
        headers={"X-Own": "1"},
        format="json",
        delivery="once",
        delay_seconds=1,
        expires_seconds=60,
        max_deliveries=3,
        timeout_seconds=0.5,
        trace_id="a" * 32,
    )
    assert message.target == Target("http://neighbour:8080/x")
    assert (message.queue, message.method, message.body) == ("mail", "PUT", b'{"id":12}')
    assert message.headers == (("X-Own", "1"), ("Content-Type", "application/json"))
    assert (message.delivery, message.delay_seconds, message.expires_seconds) == (Delivery.ONCE, 1.0, 60.0)
    assert (message.max_deliveries, message.timeout_seconds, message.trace_id) == (3, 0.5, "a" * 32)


def test_every_message_has_an_id_of_its_own():
    """Ids sort by the time they were made."""
    ids = [describe().id for _ in range(50)]
    assert len(set(ids)) == 50
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)


@pytest.mark.parametrize("method", ["GET", "HEAD", "get"])
@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/find", "/find?q=a+b&tags%5B%5D=x&tags%5B%5D=y"),
        ("/find?page=2", "/find?page=2&q=a+b&tags%5B%5D=x&tags%5B%5D=y"),
        ("/find?", "/find?q=a+b&tags%5B%5D=x&tags%5B%5D=y"),
        ("http://host/find", "http://host/find?q=a+b&tags%5B%5D=x&tags%5B%5D=y"),
    ],
)
def test_a_mapping_goes_into_the_query_of_a_get(method, target, url):
    """GET and HEAD have no body, so a mapping becomes the query, behind the one that is there."""
    message = describe(target, {"q": "a b", "tags": ["x", "y"]}, method=method)
    assert (message.target.url, message.body, message.headers) == (url, b"", ())
    assert message.queue == describe(target).queue


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=4))
def test_the_query_of_a_get_says_what_the_mapping_said(params):
    """Parsing the query returns the mapping."""
    try:
        message = describe("/find", params, method="GET")
    except PayloadNotEncodable:
        assert any(0xD800 <= ord(char) <= 0xDFFF for text in (*params, *params.values()) for char in text)
        return
    query = urlsplit(message.target.url).query
    assert parse_qs(query, keep_blank_values=True) == {key: [value] for key, value in params.items()}


@pytest.mark.parametrize("params", ['"text"', b"1", {"a": 1}])
def test_a_get_with_a_body_is_refused(params):
    """What cannot be a query has no place in a GET."""
    with pytest.raises(OptionRefused, match="method='GET'"):
        describe("/find", params, method="GET", format="json")


@pytest.mark.parametrize("params", [None, "", b"", {}])
def test_a_get_with_nothing_in_its_body_is_fine(params):
    """Nothing is nothing."""
    assert describe("/find", params, method="GET").target.url == "/find"


def test_a_query_that_is_too_long_is_refused():
    """A URL has a bound."""
    with pytest.raises(TargetRefused, match="use POST"):
        describe("/find", {"q": "x" * 9_000}, method="GET")


@pytest.mark.parametrize("method", ["", "GE T", "PO\r\nST", "GÉT", "CONNECT", "trace", None, 5, b"POST", "X" * 33])
def test_a_method_that_is_none_is_refused(method):
    """One token, and none that is meant for proxies."""
    with pytest.raises(OptionRefused, match="method="):
        describe(method=method)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("delivery", value) for value in ("twice", "ONCE", "", None, 1, [])],
        *[("delay_seconds", value) for value in (-1, -0.001, math.nan, math.inf, -math.inf, 10**400, True, "5", [])],
        *[("expires_seconds", value) for value in (0, -1, math.nan, math.inf, 1e300, False, "5")],
        *[("timeout_seconds", value) for value in (0, 0.0, -1, math.nan, math.inf, True, "5")],
        *[("max_deliveries", value) for value in (0, -1, 1.0, 1.5, True, "5", math.nan, 2**31)],
        *[("deliver_at", value) for value in (-1, math.nan, math.inf, True, "now", 10**400)],
        ("deliver_at", datetime.datetime(2030, 1, 1)),  # noqa: DTZ001 - that is what is refused
        ("deliver_at", datetime.date(2030, 1, 1)),
        ("queue", ""),
        ("queue", " mail"),
        ("queue", "x" * 129),
        ("queue", 5),
        ("format", "xlm"),
    ],
)
def test_an_option_that_means_nothing_is_refused_by_name(option, value):
    """The error names the option, says what to give instead, and is a ValueError."""
    with pytest.raises(OptionRefused) as caught:
        describe(**{option: value})
    assert caught.value.option == option
    assert ("a queue's name" if option == "queue" else "give ") in caught.value.problem
    assert str(caught.value).startswith(f"{option}=")
    assert isinstance(caught.value, ValueError)


def test_delay_and_instant_together_are_refused():
    """One of them would have to be ignored."""
    with pytest.raises(OptionRefused, match="either delay_seconds or deliver_at"):
        describe(delay_seconds=0, deliver_at=2_000_000_000)


@pytest.mark.parametrize(
    ("given_at", "kept"),
    [
        (0, 0.0),
        (1_900_000_000, 1_900_000_000.0),
        (1_900_000_000.25, 1_900_000_000.25),
        (datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC), 1_893_456_000.0),
        (
            datetime.datetime(2030, 1, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
            1_893_456_000.0,
        ),
    ],
)
def test_an_instant_is_kept_in_unix_seconds(given_at, kept):
    """A number, or a datetime that knows its zone."""
    assert describe(deliver_at=given_at).deliver_at == kept


@pytest.mark.parametrize("target", ["", "ftp://host/x", "work", "//host/x", "/a b", "/a\r\nb", None, {}, {"url": 5}])
def test_a_target_that_cannot_be_called_is_refused(target):
    """The error says why."""
    with pytest.raises(TargetRefused):
        describe(target)


@pytest.mark.parametrize(
    ("params", "fmt"), [({"a": object()}, "form"), ({"a": math.nan}, "json"), ("\ud800", "text"), ({"a": 1}, "raw")]
)
def test_params_that_cannot_be_written_are_refused(params, fmt):
    """In the handler, not at the verdict."""
    with pytest.raises(PayloadNotEncodable):
        describe("/work", params, format=fmt)


def test_the_bound_of_a_body():
    """Exactly the limit passes, one byte more does not; the error has both numbers and the setting's name."""
    limits = Settings(max_body_bytes=10)
    assert describe_message("/work", b"x" * 10, limits=limits).size
    with pytest.raises(PayloadTooLarge) as caught:
        describe_message("/work", b"x" * 11, limits=limits)
    assert (caught.value.size, caught.value.limit, caught.value.setting) == (11, 10, "max_body_bytes")


def test_two_mebibytes_are_too_many():
    """The default limit is 1 MiB."""
    with pytest.raises(PayloadTooLarge, match="2,097,152"):
        describe("/work", b"x" * 2 * 1024 * 1024)


@given(
    target=st.one_of(st.text(max_size=30), st.sampled_from(["/a", "http://h/b"])),
    params=st.one_of(st.none(), st.text(max_size=10), st.binary(max_size=10), st.dictionaries(st.text(), st.text())),
    options=st.dictionaries(
        st.sampled_from(["queue", "method", "delivery", "delay_seconds", "deliver_at", "max_deliveries", "headers"]),
        st.one_of(st.none(), st.text(max_size=5), st.integers(), st.floats(), st.booleans(), st.lists(st.none())),
    ),
)
def test_whatever_is_said_is_a_message_or_a_message_error(target, params, options):
    """Nothing that a handler says raises anything else."""
    try:
        message = describe(target, params, **options)
    except MessageError as error:
        assert str(error)
    else:
        json.dumps([message.queue, message.target.url, message.headers, message.delay_seconds])
        assert math.isfinite(message.delay_seconds)


@pytest.mark.parametrize(("delay", "expires"), [(10, 1), (10, 10)])
def test_what_could_never_be_called_is_refused(delay, expires):
    """A message that expires before its delay is over is a mistake of the caller's."""
    with pytest.raises(OptionRefused, match="expires_seconds"):
        describe("/later", delay_seconds=delay, expires_seconds=expires)


def test_a_timedelta_is_a_number_of_seconds():
    """Durations may be given as what Python has for them."""
    minute = datetime.timedelta(minutes=1)
    message = describe("/x", delay_seconds=minute, expires_seconds=2 * minute, timeout_seconds=minute / 2)
    assert (message.delay_seconds, message.expires_seconds, message.timeout_seconds) == (60.0, 120.0, 30.0)
    with pytest.raises(OptionRefused, match="delay_seconds"):
        describe("/x", delay_seconds=-minute)
