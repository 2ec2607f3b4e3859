"""The middleware under real servers: the same bytes with it as without, and never a false success."""

from __future__ import annotations

import http.client

import pytest

from ap4r.errors import StoreUnavailable
from ap4r.middleware.response.store_failure import refusal
from tests.support.apps import BAD, GOOD, ODD
from tests.support.client import ask
from tests.support.probe import hold_for, wait_until
from tests.support.processes import HOST
from tests.support.rawclient import ask_raw

_ENDLESS = ["endless", "endless_with_length"]
#: Bodies without a length of which a part has left before the verdict: longer than is held, or begun before the
#: first message. Over a connection that marks no end a client cannot tell that they are cut.
_UNMARKED = {"long_stream", "generator", "written"}
#: The answer to HEAD is whole with its start, which here has left before the first message is said.
_LATE = {*_UNMARKED, "generator_with_length"}
_WAYS = [("GET", "1.0"), ("GET", "1.1"), ("HEAD", "1.1")]


#: Of the texts of a 503, the shorter one.
SHORTEST_REFUSAL = min(len(refusal(error)[1]) for error in (StoreUnavailable("", ""), RuntimeError()))


@pytest.mark.parametrize(("method", "version"), _WAYS)
def test_the_bytes_are_equal_with_and_without(served, method, version):
    """Status line, headers, framing and body are the same, and the messages are stored when the answer is read."""
    for kind in GOOD:
        _, bare_path = served.request(kind, mount="bare")
        bare = ask_raw(served.port, bare_path, method=method, version=version)
        for messages in (0, 2):
            name, path = served.request(kind, messages=messages)
            kept = ask_raw(served.port, path, method=method, version=version)
            assert kept.raw == bare.raw, f"{kind} with {messages} messages"
            assert served.sink.stored(name) == ["/work"] * messages, kind
        assert bare.status in (200, 201, 204, 303, 304)


@pytest.mark.parametrize(("method", "version"), _WAYS)
def test_a_failure_stores_only_its_notices(served, method, version):
    """Whichever way an application fails, what waits for success is never stored."""
    for kind in sorted(set(BAD) - set(_ENDLESS)):
        name, path = served.request(kind, notice=1)
        answer = ask_raw(served.port, path, method=method, version=version)
        wait_until(lambda name=name: served.sink.stored(name), f"{kind} has its verdict")
        if method == "HEAD" and kind == "raised_in_long_body":
            continue  # longer than is held, so it was whole by its status before the application raised
        assert served.sink.stored(name) == ["/failed"], kind
        if kind != "raised_in_long_body" or (version == "1.1" and served.name != "wsgiref"):
            assert answer.status >= 400 or not answer.looks_whole, kind


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_a_server_answers_500_for_is_not_stored(served, method):
    """A start or a chunk that the server refuses, when it is given it or only when it writes it, has no messages."""
    for kind in sorted(ODD):
        name, path = served.request(kind, notice=1)
        answer = ask_raw(served.port, path, method=method)
        wait_until(lambda name=name: served.sink.stored(name), f"{kind} has its verdict")
        is_success = answer.raw.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2", b"HTTP/1.1 304 ", b"HTTP/1.0 304 "))
        assert served.sink.stored(name) == (["/work"] if is_success else ["/failed"]), kind
        _, bare_path = served.request(kind, mount="bare")
        _, quiet_path = served.request(kind, messages=0)
        quiet = ask_raw(served.port, quiet_path, method=method)
        assert quiet.raw == ask_raw(served.port, bare_path, method=method).raw, kind


@pytest.mark.parametrize("kind", _ENDLESS)
def test_a_client_that_leaves_is_no_success(served, kind):
    """A client gone in the middle is ABORT: its notice is stored, its messages never."""
    name, path = served.request(kind, notice=1)
    answer = ask(served.port, path, leave_after=100_000)
    assert answer.status == 200
    wait_until(lambda: served.sink.stored(name), "the server has closed the response", timeout_seconds=20)
    assert served.sink.stored(name) == ["/failed"]


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize(("method", "version"), _WAYS)
def test_no_success_lies(served, method, version, unknown):
    """While the store fails, no client reads a whole success of a request with messages; others are unchanged."""
    served.sink.take_away(outcome_unknown=unknown)
    try:
        for kind in GOOD:
            name, path = served.request(kind)
            answer = ask_raw(served.port, path, method=method, version=version)
            assert served.sink.stored(name) == []
            if answer.status == 503:
                assert answer.header["retry-after"] == "5"
                assert answer.looks_whole
                # Where the server keeps the Content-Length of the first start the text is cut to that.
                is_cut = 0 < len(answer.text) < SHORTEST_REFUSAL
                assert is_cut or ("unknown" in answer.text) is (unknown and method == "GET")
            elif kind in _UNMARKED and (version == "1.0" or served.name == "wsgiref"):
                assert "may accept as complete" in served.process.output
            elif method == "HEAD" and kind in _LATE:
                assert f"HEAD '/kept/{kind}': its messages" in served.process.output
            else:
                assert not answer.looks_whole, kind
            _, quiet_path = served.request(kind, messages=0)
            _, bare_path = served.request(kind, mount="bare")
            quiet = ask_raw(served.port, quiet_path, method=method, version=version)
            assert quiet.raw == ask_raw(served.port, bare_path, method=method, version=version).raw, kind
    finally:
        served.sink.bring_back()
    name, path = served.request("one_chunk")
    assert ask_raw(served.port, path).status == 200
    assert served.sink.stored(name) == ["/work"]


def test_one_connection_serves_many(served):
    """Where the server keeps a connection, it stays in step over every kind of answer, refusals among them."""
    kinds = ["one_chunk_with_length", "generator_with_length", "no_content", "redirect", "not_found", "several_chunks"]
    connection = http.client.HTTPConnection(HOST, served.port, timeout=20)
    try:
        for number in range(18):
            kind = kinds[number % len(kinds)]
            is_away = number % 5 == 4 and kind in ("one_chunk_with_length", "no_content", "redirect")
            if is_away:
                served.sink.take_away()
            name, path = served.request(kind)
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            served.sink.bring_back()
            if is_away:
                assert (response.status, served.sink.stored(name)) == (503, [])
            else:
                assert response.status == {"no_content": 204, "redirect": 303, "not_found": 404}.get(kind, 200)
                assert body == {"no_content": b"", "redirect": b"", "not_found": b"no\n"}.get(kind, b"done\n")
                assert served.sink.stored(name) == ([] if kind == "not_found" else ["/work"])
    finally:
        served.sink.bring_back()
        connection.close()


def test_nothing_is_stored_twice_or_late(served):
    """Every put has an id of its own, and when all is answered no more come."""
    before = len(served.sink.puts)
    for _ in range(20):
        assert ask_raw(served.port, served.request("one_chunk")[1]).status == 200
    hold_for(0.2, lambda: len(served.sink.puts) == before + 20, "one put a request")
    assert len({put["put"] for put in served.sink.puts}) == len(served.sink.puts)
