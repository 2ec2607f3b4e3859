"""chunked_body: a body in chunks is read as Twisted reads it, in whatever pieces it comes, and many chunks as one."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

from ap4r.dispatcher.http_server.chunked_body import MOST_LINE_BYTES, MOST_TRAILER_BYTES, ChunkedBody

WHOLE = {
    "one chunk": b"5\r\nhello\r\n0\r\n\r\n",
    "more behind it": b"5\r\nhello\r\n0\r\n\r\nPOST /more",
    "several": b"1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n",
    "none": b"0\r\n\r\n",
    "zeros before a size": b"0005\r\nhello\r\n000\r\n\r\n",
    "capitals": b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
    "extensions": b"5;a=b;c\r\nhello\r\n0;last\r\n\r\n",
    "an extension with no ASCII": b"5;\xe4\t \r\nhello\r\n0\r\n\r\n",
    "trailers": b"5\r\nhello\r\n0\r\nX-A: b\r\nX-B: c\r\n\r\nmore",
    "lines within a chunk": b"C\r\n\r\n0\r\n\r\n1\r\nab\r\n0\r\n\r\n",
}
MALFORMED = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a blank": b" 5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789012345\r\n0\r\n\r\n",
    "LF alone": b"5\nhello\n0\n\n" + b" " * MOST_LINE_BYTES,
    "longer than its size": b"5\r\nhelloo\r\n0\r\n\r\n",
    "shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    "a control character in an extension": b"5;\x01\r\nhello\r\n0\r\n\r\n",
    "a long extension": b"5;" + b"a" * MOST_LINE_BYTES + b"\r\nhello\r\n0\r\n\r\n",
    "many trailers": b"0\r\n" + b"X-A: b\r\n" * (MOST_TRAILER_BYTES // 8 + 1) + b"\r\n",
}
#: What Twisted's decoder accepts, and a server in front may read as another end of the request.
AMBIGUOUS = {
    "LF behind a trailer": b"0\r\nA: b\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "LF in place of the trailers": b"0\r\n\nX: y\r\n\r\n",
    "CR within a trailer": b"0\r\nA: b\rC: d\r\n\r\n",
}


class Taken:
    """What a decoder gave."""

    def __init__(self):
        self.body, self.calls, self.rest, self.problem = b"", 0, None, None

    def take(self, piece):
        assert self.rest is None and self.problem is None
        self.body, self.calls = self.body + piece, self.calls + 1

    def finish(self, rest):
        self.rest = rest

    def refuse(self, problem):
        assert self.problem is None
        self.problem = problem

    def read(self, data, cuts=()):
        """Read in pieces, until there is no more or it is over; what is left then counts as behind the body."""
        decoder = ChunkedBody(self.take, self.finish, self.refuse)
        edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        for start, end in itertools.pairwise(edges):
            if self.rest is None and self.problem is None:
                decoder.dataReceived(data[start:end])
            elif self.rest is not None:
                self.rest += data[start:end]
        return self


def as_twisted(data):
    """Read with Twisted's decoder; return the body and what is behind it, None where it is malformed."""
    pieces, rest = [], []
    try:
        _ChunkedTransferDecoder(pieces.append, rest.append).dataReceived(data)
    except _MalformedChunkedDataError:
        return None
    return b"".join(pieces), rest[0] if rest else None


@pytest.mark.parametrize("name", WHOLE)
@given(cuts=st.lists(st.integers(1, 60)))
def test_a_body_is_read_in_whatever_pieces(name, cuts):
    """Body and what is behind it are those that Twisted's decoder gives."""
    taken = Taken().read(WHOLE[name], cuts)
    assert (taken.body, taken.rest) == as_twisted(WHOLE[name])
    assert taken.problem is None


@pytest.mark.parametrize("step", [1, 200_000])
@pytest.mark.parametrize("name", MALFORMED)
def test_what_twisted_refuses_is_refused(name, step):
    """Once, with a problem that says why, in whatever pieces it comes."""
    assert as_twisted(MALFORMED[name]) is None
    taken = Taken().read(MALFORMED[name], range(step, len(MALFORMED[name]), step))
    assert taken.problem
    assert taken.rest is None


@pytest.mark.parametrize("step", [1, 2, 3, 5, 200_000])
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_trailer_that_does_not_end_with_cr_lf_is_refused(name, step):
    """A server that ends a line at LF alone would see the end of the request elsewhere."""
    taken = Taken().read(AMBIGUOUS[name], range(step, len(AMBIGUOUS[name]), step))
    assert taken.problem
    assert taken.rest is None


@given(st.lists(st.sampled_from([b"5", b"0", b"\r\n", b"\r", b"\n", b";a", b"hello", b"X: y", b"a"]), max_size=12))
def test_any_bytes_are_read_as_twisted_reads_them(parts):
    """Whole, malformed, or not ended; a line that has not ended, or not with CR LF, may be refused sooner."""
    data = b"".join(parts)
    found, taken = as_twisted(data), Taken().read(data)
    if found is None:
        assert taken.problem or taken.rest is None
    elif taken.problem is None:
        assert (taken.body, taken.rest) == found
    else:
        assert found[1] is None or re.search(rb"(?<!\r)\n|\r(?!\n)", data)


def test_many_chunks_are_taken_as_one():
    """Ten thousand chunks of a byte that come together are handed on in one call."""
    taken = Taken().read(b"1\r\na\r\n" * 10_000)
    assert (taken.body, taken.calls) == (b"a" * 10_000, 1)
