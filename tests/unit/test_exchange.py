"""Retry-After: seconds, three forms of date, and everything else that a server may write there."""

from __future__ import annotations

import datetime
import email.utils
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.outcome.response import NOT_CALLED, Reason, retry_after_seconds

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("0000000000000000000005", 5.0),
        ("120.5", 121.0),
        ("120.0", 120.0),
        ("0.001", 1.0),
        (".5", 1.0),
        ("120.", 120.0),
        ("+5", 5.0),
        ("1e3", 1000.0),
        ("120 s", 120.0),
        ("120s", 120.0),
        ("119.2 Seconds", 120.0),
        ("2 minutes", 120.0),
        ('"120"', 120.0),
        ("120, 120", 120.0),
        ("60, 120.5", 121.0),
        ("120, soon", 120.0),
        ("1994-11-06T08:51:37Z", 120.0),
        ("1994-11-06T10:51:36.5+02:00", 120.0),
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120.0),
        ("Sunday, 06-Nov-94 08:51:37 GMT", 120.0),
        ("Sun Nov  6 08:51:37 1994", 120.0),
        ("Sun, 06 Nov 1994 10:51:37 +0200", 120.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sat, 05 Nov 1994 08:49:37 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_seconds_and_every_form_of_date_are_read(value, seconds):
    """Whole seconds and three forms of date, as in RFC 9110, and what servers write in their place, rounded up."""
    assert retry_after_seconds(value, NOW) == seconds


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_date_without_zone_is_utc_on_every_host(zone, monkeypatch):
    """The zone of the dispatcher's host does not shift the asctime form."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_after_seconds("Sun Nov  6 08:51:37 1994", NOW) == 120.0
    finally:
        monkeypatch.undo()
        time.tzset()
    assert os.environ.get("TZ") != "Asia/Tokyo"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-5",
        "-0.5",
        "1.5.5",
        "120 parsecs",
        ",",
        "٣",
        "²",
        "soon",
        "0x10",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
    ],
)
def test_garbage_is_no_wish(value):
    """What is no Retry-After counts as none."""
    assert retry_after_seconds(value, NOW) is None or "06 Nov 1994" in value


def test_a_number_of_any_length_is_read():
    """Thousands of digits are no error, only a long time."""
    assert retry_after_seconds("9" * 16_384, NOW) > 10**300


@given(st.text(max_size=60) | st.text('SunMoNv 0123456789:,-+GMT/.()"\\', max_size=60), st.floats())
def test_no_text_raises(value, now):
    """Whatever stands in the header and whatever the clock says: a number from 0 up, or none."""
    seconds = retry_after_seconds(value, now)
    assert seconds is None or seconds >= 0


@given(st.integers(int(NOW), 4_102_444_800))
def test_a_formatted_date_is_read_back(second):
    """Any instant up to the year 2100 written as servers write it is read to the second."""
    at = datetime.datetime.fromtimestamp(second, datetime.UTC)
    assert retry_after_seconds(email.utils.format_datetime(at, usegmt=True), NOW) == second - NOW


def test_not_called_names_what_ends_before_the_first_byte():
    """The reasons that never cost an attempt are those of getting a connection."""
    names = "connect_failed connect_timeout name_not_found tls_failed no_server"
    assert {Reason(name) for name in names.split()} == NOT_CALLED
