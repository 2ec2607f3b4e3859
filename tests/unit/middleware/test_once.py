"""The middleware's part in receiving once: repeats answered, and refusals answered in the application's place."""

from __future__ import annotations

import pytest

from ap4r.errors import ConfigError, DeliveryBusy, DeliveryDiffers, StoreUnavailable
from ap4r.middleware.deliveries.repeats import DONE, Guarded, Repeats, send_answer
from ap4r.signing.verified_delivery import VerifiedDelivery
from ap4r.storage.inbox_record import Stored, StoredAnswer, key_of
from tests.support.wire import exchange, make_environ

DELIVERY = VerifiedDelivery(
    sender="ap4r", id="1", path="/async/pay", signed_at=0, body_sha256=b"c" * 32, expires_at=500,
    whole_request_signed=True,
)  # fmt: skip
ENVIRON = make_environ("POST", "/async/pay")


class Records:
    """An inbox that holds what it is given."""

    def __init__(self, found=None, error=None):
        self.found, self.error, self.asked = found, error, []

    def recall(self, key, until):
        self.asked.append((key, until))
        if self.error is not None:
            raise self.error
        return self.found


class Handle:
    """What `once` tells why it did not let a request in."""

    refusal = None


class TestRepeats:
    def test_what_is_not_known_is_left_to_the_application(self):
        """Without a record, and on paths that are not listed, the application runs."""
        records = Records()
        repeats = Repeats(["/async/*"], records)
        assert repeats.answer(ENVIRON, DELIVERY, 100.0) is None
        assert records.asked == [(key_of("ap4r", "1", "/async/pay"), 500 + 3_600.0)]
        assert repeats.answer(make_environ("POST", "/other"), DELIVERY, 100.0) is None
        assert len(records.asked) == 1

    def test_a_script_name_hides_no_repeat(self):
        """A path counts without SCRIPT_NAME too, by which frameworks do not route."""
        environ = make_environ("POST", "/async/pay", SCRIPT_NAME="/x")
        repeats = Repeats(["/async/*"], Records(Stored(b"c" * 32, 1.0)))
        assert repeats.answer(environ, DELIVERY, 0.0) == DONE

    def test_a_repeat_is_answered(self):
        """With the stored answer, else 204."""
        assert Repeats(["/async/*"], Records(Stored(b"c" * 32, 1.0))).answer(ENVIRON, DELIVERY, 0.0) == DONE
        answer = StoredAnswer(201, (), b"made")
        assert Repeats(["/async/*"], Records(Stored(b"c" * 32, 1.0, answer))).answer(ENVIRON, DELIVERY, 0.0) == answer

    def test_another_content_is_refused(self):
        """The same id with another body is 422, and not worth a repeat."""
        found = Repeats(["/async/*"], Records(Stored(b"d" * 32, 1.0))).answer(ENVIRON, DELIVERY, 0.0)
        assert (found.status, dict(found.headers)["Ap4r-Retry"]) == (422, "no")

    def test_an_unreachable_store_stops_no_request(self, caplog):
        """Where the inbox cannot be looked into the application asks again itself."""
        repeats = Repeats(["/async/*"], Records(error=StoreUnavailable("x", "away")))
        assert repeats.answer(ENVIRON, DELIVERY, 0.0) is None
        assert "away" in caplog.text

    def test_paths_without_an_inbox_are_refused(self):
        """Whatever is no database cannot be looked into; without paths nothing is needed."""
        with pytest.raises(ConfigError, match="inbox="):
            Repeats(["/async/*"], object())
        assert not Repeats([], None)
        with pytest.raises(ConfigError, match="once"):
            Repeats(["async"], Records())


def test_answers_are_whole():
    """A body has its length, 204 has neither, and HEAD gets no body."""
    for status, method, headers, body in [
        (201, "POST", {"Content-Length": "4"}, b"made"),
        (204, "POST", {}, b""),
        (201, "HEAD", {"Content-Length": "4"}, b""),
    ]:
        answer = StoredAnswer(status, (), b"" if status == 204 else b"made")

        def application(environ, start_response, answer=answer):
            return send_answer(answer, environ, start_response)

        answered = exchange(application, make_environ(method))
        assert (answered.status[:3], dict(answered.headers), b"".join(answered.chunks)) == (str(status), headers, body)


def _raises(handle, refusal):
    def application(environ, start_response):
        handle.refusal = refusal
        raise refusal

    return application


def _frameworks_500(handle, refusal):
    def application(environ, start_response):
        handle.refusal = refusal
        start_response("500 Internal Server Error", [("Content-Length", "4")])
        return [b"oops"]

    return application


def _generator(handle, refusal):
    def application(environ, start_response):
        handle.refusal = refusal
        raise refusal
        yield b""

    return application


def _generator_500(handle, refusal):
    def application(environ, start_response):
        handle.refusal = refusal
        start_response("500 Internal Server Error", [])
        yield b"oo"
        yield b"ps"

    return application


def _empty_generator_500(handle, refusal):
    def application(environ, start_response):
        handle.refusal = refusal
        start_response("500 Internal Server Error", [])
        yield from ()

    return application


@pytest.mark.parametrize("kind", [_raises, _frameworks_500, _generator, _generator_500, _empty_generator_500])
@pytest.mark.parametrize(("refusal", "status"), [(DeliveryBusy("1"), "409"), (DeliveryDiffers("1"), "422")])
def test_a_request_that_was_not_let_in(kind, refusal, status):
    """However the application fails of it, the answer is ours: whole, with our headers and none of its body."""
    handle = Handle()
    answered = exchange(Guarded(kind(handle, refusal), handle, None), make_environ("POST"))
    assert answered.raised is None
    assert answered.status[:3] == status
    headers = dict(answered.headers)
    assert ("Ap4r-Busy" in headers) == (status == "409")
    assert headers["Content-Length"] == str(len(b"".join(answered.chunks)))


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "303 See Other"])
def test_an_application_may_answer_by_itself(status):
    """What the application has caught and answered by less than a 500 is its own answer."""
    handle = Handle()

    def application(environ, start_response):
        handle.refusal = DeliveryBusy("1")
        start_response(status, [])
        return [b"mine"]

    answered = exchange(Guarded(application, handle, None), make_environ("POST"))
    assert (answered.status, answered.chunks) == (status, [b"mine"])


def test_other_callers_are_not_affected():
    """Without a refusal the application's own result goes to the server, an exception and all."""
    handle, result = Handle(), [b"one", b"two"]

    def application(environ, start_response):
        start_response("500 Internal Server Error", [])
        return result

    assert exchange(Guarded(application, handle, None), make_environ()).result is result
    assert exchange(Guarded(application, handle, None), make_environ()).status == "500 Internal Server Error"

    def fails(environ, start_response):
        raise ZeroDivisionError

    assert isinstance(exchange(Guarded(fails, handle, None), make_environ()).raised, ZeroDivisionError)
