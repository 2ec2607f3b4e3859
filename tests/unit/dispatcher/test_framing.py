"""framing and head: what curl reads of a response is read, in whatever pieces, and no response costs without bound."""

from __future__ import annotations

import tracemalloc

import pytest

from ap4r.dispatcher.http_client.response_framing import MOST_HEAD_BYTES, MOST_HEAD_LINES, ResponseReader, TooMuch
from ap4r.dispatcher.http_client.response_head import NotHttp

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\nok"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"2\r\nok\r\n0\r\n\r\n"

#: Each was tried with curl 7.88: it reads them, and so do we. The connection is not used again.
ODD = {
    "lines that end with LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "a head that ends with LF": OK + b"Content-Length: 2\r\n\nok",
    "lines that end with CR CR LF": b"HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\r\n\r\r\nok",
    "two blanks": b"HTTP/1.1  200 OK\r\n" + TWO,
    "no blank behind the status": b"HTTP/1.1 200OK\r\n" + TWO,
    "a comma behind the status": b"HTTP/1.1 200,OK\r\n" + TWO,
    "HTTP/2": b"HTTP/2 200 OK\r\n" + TWO,
    "small letters": b"http/1.1 200 OK\r\n" + TWO,
    "a value of two lines": OK + b"X-A: a\r\n b\r\n" + TWO,
    "no name": OK + b": a\r\n" + TWO,
    "a blank before the colon": OK + b"Content-Length : 2\r\n\r\nok",
    "a blank in a name": OK + b"X A: a\r\n" + TWO,
    "a name that is no token": OK + "X(Ä): a\r\n".encode() + TWO,
    "a control character": OK + b"X-A: a\x01\x7f\r\n" + TWO,
    "a CR in a value": OK + b"X-A: a\rb\r\n" + TWO,
    "a line without a colon": OK + b"garbage\r\n" + TWO,
    "a zero byte": OK + b"X-A: a\0b\r\n" + TWO,
    "one length twice": OK + b"Content-Length: 2\r\n" + TWO,
    "two lengths": OK + b"Content-Length: 3\r\n" + TWO,
    "two lengths, the other way": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a length twice in one line": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "a length with a sign": OK + b"Content-Length: +2\r\n\r\nok",
    "a length with a unit": OK + b"Content-Length: 2 bytes\r\n\r\nok",
    "a length with a fraction": OK + b"Content-Length: 2.0\r\n\r\nok",
    "a length and chunks": OK + b"Content-Length: 2\r\n" + CHUNKED + LAST,
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n" + LAST,
    "chunks twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST,
    "chunks in two lines": OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED + LAST,
    "chunks and identity": OK + b"Transfer-Encoding: chunked, identity\r\n\r\n" + LAST,
    "chunks with a parameter": OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + LAST,
    "identity and a length": OK + b"Transfer-Encoding: identity\r\n" + TWO,
    "an empty coding": OK + b"Transfer-Encoding:\r\n" + TWO,
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + LAST,
    "chunks with LF": OK + CHUNKED + b"2\nok\n0\n\n",
    "words behind a chunk's size": OK + CHUNKED + b"2 junk\r\nok\r\n0\r\n\r\n",
    "an extension": OK + CHUNKED + b"2;a=b\r\nok\r\n0\r\n\r\n",
    "trailers": OK + CHUNKED + b"2\r\nok\r\n0\r\nX-T: a\r\n\r\n",
    "trailers that are none": OK + CHUNKED + b"2\r\nok\r\n0\r\ngarbage\r\n\r\n",
    "more than was asked for": OK + TWO + b"more",
    "a second response": OK + TWO + OK + TWO,
    "empty lines first": b"\r\n\r\n" + OK + TWO,
}
#: Nothing is odd about these, and the connection may carry another request.
PLAIN = {
    "a length": OK + TWO,
    "a status alone": b"HTTP/1.1 200\r\n" + TWO,
    "a status and a blank": b"HTTP/1.1 200 \r\n" + TWO,
    "HTTP/1.0 that stays": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + TWO,
    "chunks": OK + CHUNKED + LAST,
    "two chunks": OK + CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    "a coding in capitals": OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n" + LAST,
    "no blank before a value": OK + b"Content-Length:2\r\n\r\nok",
    "a tab before a value": OK + b"Content-Length:\t2 \r\n\r\nok",
    "interim answers": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\n"
    + OK
    + TWO,
}
#: A body whose end is that of the connection.
UNTIL_CLOSED = {
    "no length": OK + b"\r\nok",
    "a length beyond all": OK + b"Content-Length: 99999999999999999999999\r\n\r\nok",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nok",
    "an unknown coding": OK + b"Transfer-Encoding: foo\r\n\r\nok",
}
#: curl gives up on these too. The status is known, so nothing is called again for them.
UNREADABLE = {
    "a length below zero": OK + b"Content-Length: -2\r\n\r\nok",
    "an empty length": OK + b"Content-Length:\r\n\r\nok",
    "a length in words": OK + b"Content-Length: two\r\n\r\nok",
    "a chunk without a size": OK + CHUNKED + b"zz\r\nok\r\n0\r\n\r\n",
    "a chunk of less than nothing": OK + CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "a chunk beyond all": OK + CHUNKED + b"fffffffffffffffff\r\nok",
    "a chunk that is too long": OK + CHUNKED + b"2\r\nokxx\r\n0\r\n\r\n",
    "no chunk at all": OK + CHUNKED + b"\r\nok",
}
NO_HTTP = [
    b"SSH-2.0-OpenSSH\r\n", b"220 smtp.example ready\r\n", b"\x15\x03\x01\x00\x02", b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 099 OK\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP 200 OK\r\n\r\n",
]  # fmt: skip


def read(answer: bytes, step: int, reader: ResponseReader | None = None) -> tuple[ResponseReader, bytes]:
    """Read an answer in pieces of a size; return the reader and the body."""
    reader = reader or ResponseReader(1_000_000, is_head=False)
    return reader, b"".join(reader.feed(answer[at : at + step]) for at in range(0, len(answer), step))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("case", [*ODD, *PLAIN])
def test_what_curl_reads_is_read(case, step):
    """In pieces of any size; only after what is not odd may the connection be used again."""
    reader, body = read({**ODD, **PLAIN}[case], step)
    assert reader.is_complete
    assert (reader.head.status, body) == (200, b"ok")
    assert case in ODD or reader.may_stay
    assert case in PLAIN or not reader.may_stay or step < 1_000, "in pieces, what comes too late is not seen here"


@pytest.mark.parametrize("case", UNTIL_CLOSED)
def test_a_body_without_an_end_ends_with_its_connection(case):
    """Nothing else tells its end."""
    reader, body = read(UNTIL_CLOSED[case], 5)
    assert (reader.head.status, body, reader.is_complete) == (200, b"ok", False)
    assert reader.end(is_clean=True)


@pytest.mark.parametrize("step", [1, 1_000])
@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_said_with_its_status(case, step):
    """The status is there when the rest is given up."""
    reader = ResponseReader(1_000, is_head=False)
    with pytest.raises(NotHttp) as told:
        read(UNREADABLE[case], step, reader)
    assert not isinstance(told.value, TooMuch)
    assert reader.head.status == 200


@pytest.mark.parametrize("answer", NO_HTTP)
def test_what_is_no_http_is_said_at_once(answer):
    """Without waiting for the end of a head that never comes."""
    with pytest.raises(NotHttp, match="is not HTTP"):
        read(answer, 4)


@pytest.mark.parametrize("case", [*UNREADABLE, "two lengths", "a length and chunks"])
def test_a_head_alone_needs_no_end(case):
    """To HEAD, and with 204 and 304, there is no body, whatever the headers say."""
    answer = {**UNREADABLE, **ODD}[case].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert read(answer, 9, ResponseReader(10, is_head=True))[0].is_complete
    for status in (b"204", b"304"):
        assert read(answer.replace(b"200", status), 9)[0].is_complete


def test_a_head_may_end_with_its_connection():
    """Behind a whole line of it, if the server closed; not with a Content-Length, and not after a reset."""
    assert read(OK + b"X-A: b\r\n", 4)[0].end(is_clean=True)
    assert not read(OK + b"X-A", 4)[0].end(is_clean=True)
    assert not read(OK + b"X-A: b\r\n", 4)[0].end(is_clean=False)
    assert not read(OK + b"Content-Length: 2\r\n", 4)[0].end(is_clean=True)


def endless(first: bytes, again: bytes, most_bytes: int, step: int) -> int:
    """Read without end; return how many bytes were taken before it was too much."""
    reader = ResponseReader(most_bytes, is_head=False)
    data = again * (step // len(again) + 1) if step % len(again) else again * (step // len(again))
    taken = 0
    with pytest.raises(NotHttp):
        reader.feed(first)
        while True:
            for at in range(0, len(data), step):
                piece = data[at : at + step]
                reader.feed(piece)
                taken += len(piece)
    return taken


@pytest.mark.parametrize("step", [13, 65_536])
@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 ", b"x"),
        (b"", b"\r\n"),
        (OK + b"X-A: ", b"a"),
        (OK + b"X-A: a", b"\r"),
        (OK, b"X-A: a\r\n"),
        (OK, b"a:\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        (OK + CHUNKED + b"2;", b"x"),
        (OK + CHUNKED, b"1;" + b"x" * 60 + b"\r\na\r\n"),
        (OK + CHUNKED, b"1\r\na\r\n"),
        (OK + CHUNKED + b"0\r\n", b"X-A: aaaaaaaa\r\n"),
        (OK + CHUNKED + b"0\r\n", b"\r"),
        (OK + CHUNKED + b"0\r\n", b"a"),
        (OK + b"\r\n", b"x"),
    ],
    ids=[
        *("status line", "empty lines", "value", "CRs", "headers", "LF headers", "interim", "extension", "extensions"),
        *("chunks", "trailers", "CRs for trailers", "trailer", "body"),
    ],
)
def test_every_byte_of_an_answer_counts(first, again, step):
    """No part of an answer may go on for ever, and none is kept that is not needed."""
    most_bytes = 100_000 if step > 13 else 1_000
    tracemalloc.start()
    try:
        taken = endless(first, again, most_bytes, step)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken <= 2 * MOST_HEAD_BYTES + most_bytes
    assert peak < 3_000_000


def test_chunks_of_one_byte_cost_more_than_their_bytes():
    """What makes the most work of the fewest bytes is broken off the soonest."""
    small = endless(OK + CHUNKED, b"1\r\na\r\n", 1_000_000, 6_000)
    large = endless(OK + CHUNKED, b"3e8\r\n" + b"a" * 1_000 + b"\r\n", 1_000_000, 1_007)
    assert small < large / 5


@pytest.mark.parametrize("line", [b"a:\r\n", b":\r\n", b"a\n", b" a\r\n"])
def test_the_lines_of_a_head_are_bounded(line):
    """Each costs time beside its bytes, whatever it is."""
    reader = ResponseReader(1_000, is_head=False)
    reader.feed(OK + line * (MOST_HEAD_LINES - 1) + b"\r\n")
    assert reader.head is not None
    with pytest.raises(NotHttp, match="more than 1,000 lines"):
        ResponseReader(1_000, is_head=False).feed(OK + line * MOST_HEAD_LINES + b"\r\n")
