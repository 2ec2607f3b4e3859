"""What waits and what may leave."""

from __future__ import annotations

from wsgiref.util import FileWrapper

import pytest

from ap4r.middleware.response.body import BufferedBody, is_at_hand
from tests.support.apps import Chunks


def test_chunks_leave_in_order_and_whole():
    """Release lets everything go, or everything but the last."""
    body = BufferedBody()
    for chunk in (b"one", b"two", b"three"):
        body.hold(chunk)
    assert (list(body.ready), body.held_bytes) == ([], 11)
    body.release(but_last=True)
    assert (list(body.ready), body.held_bytes) == ([b"one", b"two"], 5)
    body.release(but_last=True)
    assert list(body.ready) == [b"one", b"two"]
    body.release()
    assert (list(body.ready), body.held_bytes) == ([b"one", b"two", b"three"], 0)


def test_what_is_dropped_is_gone():
    """Both what waits and what might have left."""
    body = BufferedBody()
    body.hold(b"one")
    body.release()
    body.hold(b"two")
    body.drop()
    body.release()
    assert (list(body.ready), body.held_bytes) == ([], 0)


class _List(list):
    """A list with a close() of its own, perhaps."""


class _Counting(list):
    """A list that runs code of its own when it is iterated."""

    def __iter__(self):
        return (chunk for chunk in super().__iter__())


@pytest.mark.parametrize(
    ("result", "at_hand"),
    [
        ([], True),
        ([b""], True),
        ((b"one",), True),
        ([b"one", b"two"], True),
        (_List([b"one"]), True),
        (_Counting([b"one"]), False),
        (iter([b"one"]), False),
        (Chunks([b"one"]), False),
        (FileWrapper(Chunks([])), True),
        (None, False),
    ],
)
def test_which_results_are_at_hand(result, at_hand):
    """Lists and tuples that iterate as those of Python do, and the server's own files."""
    assert is_at_hand(result, FileWrapper) is at_hand


@pytest.mark.parametrize("wrapper", [None, lambda opened: opened])
def test_a_server_without_a_class_of_files_has_none_at_hand(wrapper):
    """Without a class to compare with, a file is sent as any other iterable."""
    assert not is_at_hand(FileWrapper(Chunks([])), wrapper)
