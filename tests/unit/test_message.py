"""Messages: values that never change, with ids that sort by time."""

from __future__ import annotations

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.message.message import Delivery, Message, Put, new_id
from ap4r.message.target import Target

MESSAGE = Message(id=new_id(1.0), queue="queue.search", target=Target("/search", "app"))


def test_an_id_is_a_uuid_of_version_7():
    """Every tool that knows RFC 9562 reads an id as version 7, with the time that it was made at."""
    parsed = uuid.UUID(new_id(1_750_000_000.125))
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == 1_750_000_000_125
    assert str(parsed).startswith(new_id(1_750_000_000.125)[:18])


def test_an_id_contains_the_time_of_its_creation():
    """Without a given time an id holds this host's clock."""
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id()).int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


@given(st.floats(0, 2**42 / 1_000), st.floats(0, 2**42 / 1_000))
def test_ids_sort_by_time(one, other):
    """As text and as bytes, an id made two microseconds later sorts later."""
    earlier, later = sorted([one, other])
    first, second = new_id(earlier), new_id(later + 2e-6)
    assert first < second
    assert uuid.UUID(first).bytes < uuid.UUID(second).bytes


@pytest.mark.parametrize(("seconds", "fraction"), [(0.0, 0), (0.000_25, 1_024), (0.000_5, 2_048), (0.000_999, 4_091)])
def test_an_id_holds_the_fraction_of_its_millisecond(seconds, fraction):
    """The twelve bits behind the version are the sub-millisecond part in 4096ths (RFC 9562, method 3)."""
    parsed = uuid.UUID(new_id(1_750_000_000.125 + seconds)).int
    assert (parsed >> 80, parsed >> 64 & 0xFFF) == (1_750_000_000_125, fraction)


def test_ids_do_not_repeat():
    """Fifty thousand ids of one instant are fifty thousand different ones."""
    assert len({new_id(1.0) for _ in range(50_000)}) == 50_000


def test_a_message_and_a_put_cannot_be_changed():
    """Both refuse it, and equal ones count once in a set."""
    put = Put(new_id(1.0), (MESSAGE,))
    for value, name in ((MESSAGE, "queue"), (put, "messages"), (MESSAGE.target, "url")):
        with pytest.raises(AttributeError):
            setattr(value, name, "other")
    assert {MESSAGE, MESSAGE._replace()} == {MESSAGE}
    assert {put, Put(put.id, (MESSAGE,))} == {put}


def test_lane_is_queue_and_origin():
    """What is held together is one queue to one server, not one URL."""
    here, there = (MESSAGE._replace(target=Target(url)) for url in ("http://h/a", "http://h/b?c"))
    assert here.lane == there.lane == ("queue.search", "http://h")
    assert MESSAGE.lane == ("queue.search", "app")


def test_size_counts_the_bytes_of_target_headers_and_body():
    """What counts towards a request's limit is all that is stored of a message, in bytes."""
    message = MESSAGE._replace(body=b"12345", headers=(("ab", "cdé"), ("f", "")))
    assert message.size == len(MESSAGE.target.url) + 6 + 1 + 5


def test_delivery_is_spelled_as_the_option():
    """The three delivery rules are the words that a caller writes."""
    assert [str(rule) for rule in Delivery] == ["repeated", "once", "best_effort"]
    assert MESSAGE.delivery is Delivery.REPEATED
