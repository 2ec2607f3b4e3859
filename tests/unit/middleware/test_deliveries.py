"""The verdict in a delivery: what its dispatcher takes for a failure, and calls again, commits nothing."""

from __future__ import annotations

import pytest

from ap4r.middleware import AP4RMiddleware
from ap4r.middleware.response.commit_rule import DeliveryAnswer
from tests.support.apps import Chunks
from tests.support.sink import MemorySink
from tests.support.wire import exchange, make_environ

DELIVERY = {"HTTP_AP4R_MESSAGE_ID": "0192"}


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


def answering(status, body=(), *, late=False):
    """Create an action that requests a call, and a notice for the case of a failure."""

    def application(environ, start_response):
        def say():
            environ["ap4r"].async_to("/next")
            environ["ap4r"].async_to("/failed", on="failure")

        if not late:
            say()
        start_response(status, [("Content-Type", "text/plain")])
        if isinstance(body, list | tuple) and not late:
            return body

        def chunks():
            if late:
                say()
            yield from body

        return chunks()

    return application


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("status", "is_success"),
    [
        ("200 OK", True),
        ("202 Accepted", True),
        ("299 Odd", True),
        ("300 Multiple Choices", False),
        ("303 See Other", False),
        ("307 Temporary Redirect", False),
        ("404 Not Found", False),
        ("500 Oh", False),
    ],
)
def test_a_delivery_commits_exactly_with_2xx(status, is_success, late, sink):
    """Otherwise it is called again, and each call would store the messages once more."""
    exchange(AP4RMiddleware(answering(status, [b"x", b"y"], late=late), store=sink), make_environ(**DELIVERY))
    assert sink.paths == (["/next"] if is_success else ["/failed"])


def test_the_same_answer_to_anybody_else_is_a_success(sink):
    """A redirect after a form is a good end."""
    exchange(AP4RMiddleware(answering("303 See Other"), store=sink))
    assert sink.paths == ["/next"]


@pytest.mark.parametrize("told", ["header", "setting"])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "is_success"),
    [
        ("200 OK", [b"true"], True),
        ("200 OK", (b"it is t", b"r", b"ue.\n"), True),
        ("200 OK", [b"false"], False),
        ("200 OK", [], False),
        ("201 Created", [b"true"], False),
        ("200 OK", Chunks([b"tr", b"", b"ue"]), True),
        ("200 OK", Chunks([b"tr", b"u"]), False),
    ],
)
def test_the_rule_of_ap4r_reads_the_body(status, body, is_success, late, told, sink):
    """Status 200 and a body with "true", where the dispatcher says so, or the settings that both share."""
    more = {"HTTP_AP4R_SUCCESS": "ap4r"} if told == "header" else {}
    settings = {"success": "ap4r"} if told == "setting" else {}
    app = AP4RMiddleware(answering(status, body, late=late), store=sink, **settings)
    answer = exchange(app, make_environ(**DELIVERY, **more))
    assert answer.body == b"".join(body)
    assert sink.paths == (["/next"] if is_success else ["/failed"])


def test_the_dispatchers_word_counts_before_the_setting(sink):
    """A delivery of another protocol is judged by that."""
    app = AP4RMiddleware(answering("200 OK", [b"<fine/>"]), store=sink, success="ap4r")
    exchange(app, make_environ(**DELIVERY, HTTP_AP4R_SUCCESS="2xx"))
    assert sink.paths == ["/next"]


def test_a_file_is_read_where_the_rule_depends_on_it(sink):
    """Then it is no file to the server any more."""
    from wsgiref.util import FileWrapper

    class Opened:
        def __init__(self):
            self.chunks = [b"t", b"rue"]

        def read(self, size):
            return self.chunks.pop(0) if self.chunks else b""

    def application(environ, start_response):
        environ["ap4r"].async_to("/next")
        start_response("200 OK", [])
        return FileWrapper(Opened())

    environ = make_environ(**DELIVERY, HTTP_AP4R_SUCCESS="ap4r", **{"wsgi.file_wrapper": FileWrapper})
    assert exchange(AP4RMiddleware(application, store=sink), environ).body == b"true"
    assert sink.paths == ["/next"]


def test_a_rule_of_ones_own_cannot_commit_a_failed_delivery(sink):
    """It may say no to a success, and not yes to what is called again."""
    for status, rule, paths in (("409 Conflict", "commit", ["/failed"]), ("200 OK", "abort", ["/failed"])):
        sink.puts.clear()
        app = AP4RMiddleware(answering(status), store=sink, verdict=lambda *_, rule=rule: rule)
        exchange(app, make_environ(**DELIVERY))
        assert sink.paths == paths


def test_what_may_still_become_a_success_is_held():
    """Until its end the best is taken for granted; a response without a body cannot become one."""
    answer = DeliveryAnswer("ap4r")
    assert answer.is_success(200, False, so_far=True)
    assert not answer.is_success(200, True, so_far=True)
    assert not answer.is_success(200, False, so_far=False)
    answer.read(b"true")
    assert answer.is_success(200, False, so_far=False)
    answer.forget()
    assert not answer.is_success(200, False, so_far=False)
