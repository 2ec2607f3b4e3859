"""The answer stored for repeats: what is one, and what is refused where it is given."""

from __future__ import annotations

import pytest

from ap4r.errors import MessageError, PayloadTooLarge
from ap4r.inbox.stored_answer import BODY_BYTES, check_answer
from ap4r.storage.inbox_record import StoredAnswer


def test_an_answer_is_kept_as_it_is():
    """Status, headers in their order and bytes; a length is computed again."""
    headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "9")]
    assert check_answer(201, "ü", headers) == StoredAnswer(
        201, (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")), b"\xc3\xbc"
    )
    assert check_answer(204, b"", None) == StoredAnswer(204)
    assert check_answer(200, bytes(BODY_BYTES), {"X": "y"}).headers == (("X", "y"),)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (199, b"", None),
        (600, b"", None),
        (True, b"", None),
        ("200", b"", None),
        (204, b"x", None),
        (200, 12, None),
        (200, b"", {"X": "a\r\nSet-Cookie: b"}),
        (200, b"", {"X Y": "a"}),
        (200, b"", {"X": "€"}),
        (200, b"", {"Transfer-Encoding": "chunked"}),
        (200, b"", [("X", 1)]),
        (200, b"", ["X"]),
    ],
)
def test_what_is_no_answer_is_refused(status, body, headers):
    """Whatever a server could not send, or a client could be misled by, is refused in the handler's own line."""
    with pytest.raises(MessageError):
        check_answer(status, body, headers)


def test_an_answer_is_bounded():
    """What is written in the handler's transaction is small."""
    with pytest.raises(PayloadTooLarge, match="no setting raises"):
        check_answer(200, bytes(BODY_BYTES + 1), None)
    with pytest.raises(PayloadTooLarge, match="no setting raises"):
        check_answer(200, b"", {f"X-{number}": "y" * 1_000 for number in range(9)})
