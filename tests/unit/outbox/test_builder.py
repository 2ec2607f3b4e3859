"""A message said piece by piece, as AP4R's builder had it."""

from __future__ import annotations

import pytest

import ap4r
from ap4r.errors import BlockUsed, MessageError, OptionRefused, PayloadNotEncodable
from tests.support.sink import MemorySink


def test_a_message_is_built_as_in_ap4r():
    """Body keys, delivery options, headers and a format make the message that async_to would have made."""
    sink = MemorySink()
    with ap4r.session(sink) as handle, handle.message("/orders/mail") as m:
        m.body("id", 12)
        m.header("priority", 1)
        m.header("delivery", "once")
        m.http_header("X-Tenant", "b")
        m.http_header("x-tenant", "a")
        m.format("xml")
    [message] = sink.messages
    assert message.id == m.message_id
    assert message.delivery == "once"
    assert dict(message.headers) == {"x-tenant": "a", "Content-Type": "application/xml", "Ap4r-Priority": "1"}
    assert message.body.endswith(b'<hash><id type="integer">12</id></hash>')


def test_it_takes_the_options_of_async_to_along():
    """Given at the start, and said later; the caller's own mapping stays as it was."""
    sink, params = MemorySink(), {"a": 1}
    with ap4r.session(sink) as handle:
        with handle.message({"url": "/rpc"}, params, queue="x", delay_seconds=5) as m:
            m.body("b", 2)
            m.format("json")
            m.header("queue", "y")
        with handle.message("/rpc", headers={"X-A": "1"}) as m:
            m.body_as([1, "é"])
            m.header("dispatch_mode", "XMLRPC")
            m.header("action", "shop.take")
            m.option("allow_none", True)
    first, second = sink.messages
    assert (first.body, first.queue, first.delay_seconds, params) == (b'{"a":1,"b":2}', "y", 5.0, {"a": 1})
    assert second.protocol == "xmlrpc"
    assert "<int>1</int>" in second.body.decode()
    assert dict(second.headers)["X-A"] == "1"


def test_nothing_is_added_after_an_exception():
    """Neither the block's own nor one of what it said; the session goes on."""
    sink = MemorySink()
    with ap4r.session(sink) as handle:
        with pytest.raises(ZeroDivisionError), handle.message("/a") as m:
            m.body("id", 12)
            raise ZeroDivisionError
        with pytest.raises(PayloadNotEncodable, match=r'params\["id"\]'), handle.message("/b") as m:
            m.body("id", {1})
        assert m.message_id is None
        handle.async_to("/c")
    assert sink.paths == ["/c"]


def test_a_block_is_used_once():
    """A second use says so, and sends nothing; also after an exception."""
    sink = MemorySink()
    with ap4r.session(sink) as handle:
        good, bad = handle.message("/a"), handle.message("/b")
        with good as m:
            m.body("id", 12)
        with pytest.raises(ZeroDivisionError), bad:
            raise ZeroDivisionError
        for block in (good, bad):
            with pytest.raises(BlockUsed, match=r"message\(\) again for each `with`"), block:
                pass
    assert sink.paths == ["/a"]


def test_keys_are_never_dropped_unseen():
    """The params as a whole take no keys away that were given before; keys are added to a mapping given as a whole."""
    sink = MemorySink()
    with ap4r.session(sink) as handle:
        for params in ([1], {"b": 1}, None):
            with pytest.raises(OptionRefused, match=r"body_as.*body\(\)"), handle.message("/a", {"c": 1}) as m:
                m.body("a", 1)
                m.body_as(params, "json")
        with handle.message("/b", {"c": 1}) as m:
            m.body_as([1], "json")
            m.body_as({"b": 1})
            m.body("a", 1)
    assert [message.body for message in sink.messages] == [b'{"b":1,"a":1}']


def test_what_it_does_not_know_is_refused_where_it_is_said():
    """A header that is no option lists those that are; a body without keys takes no key."""
    with ap4r.session(MemorySink()) as handle:
        with pytest.raises(OptionRefused, match=r"did you mean priority\?"), handle.message("/a") as m:
            m.header("prioritty", 1)
        with pytest.raises(OptionRefused, match="http_header"), handle.message("/a") as m:
            m.header("X-Tenant", "a")
        with pytest.raises(OptionRefused, match="no keys"), handle.message("/a", "text") as m:
            m.body("id", 1)
        for value in ("high", 1.5, True, 1001):
            with pytest.raises(MessageError, match="priority"), handle.message("/a") as m:
                m.header("priority", value)
