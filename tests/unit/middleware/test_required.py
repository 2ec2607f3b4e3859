"""An action insists that a request is a delivery, however its path was read."""

from __future__ import annotations

import datetime

import flask
import pytest

import ap4r
from ap4r.contrib.flask import require_delivery as flask_require_delivery
from ap4r.errors import DeliveryRequired
from ap4r.middleware import AP4RMiddleware
from tests.support.django_settings import configure, routed_by
from tests.support.signed import environ_of, secret, secret_text, signed_request
from tests.support.sink import MemorySink
from tests.support.wire import exchange, make_environ


def _answer(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"RAN"]


def _insisting(environ, start_response):
    delivery = environ["ap4r"].require_delivery()
    assert delivery.whole_request_signed
    return _answer(environ, start_response)


def _late(environ, start_response):
    environ["ap4r"].require_delivery()
    yield from _answer(environ, start_response)


def _framework(environ, start_response):
    try:
        return _insisting(environ, start_response)
    except DeliveryRequired:
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return []


def _flask():
    application = flask.Flask("shop")

    @application.post("/async/work")
    @flask_require_delivery
    def work():
        return "RAN"

    @application.post("/hook")
    @flask_require_delivery(sender="billing")
    async def hook():
        return "RAN"

    return application


def _django():
    configure()
    from django.core.handlers.wsgi import WSGIHandler

    def application(environ, start_response):
        with routed_by(__name__):
            return WSGIHandler()(environ, start_response)

    return application


def __getattr__(name):
    if name != "urlpatterns":
        raise AttributeError(name)
    from django.http import HttpResponse
    from django.urls import path

    from ap4r.contrib.django import require_delivery

    @require_delivery
    def work(request):
        return HttpResponse("RAN")

    @require_delivery(sender="ap4r")
    async def work_async(request):
        return HttpResponse("RAN")

    return [path("async/work", work), path("async/later", work_async)]


KINDS = {
    "handle": lambda: _insisting,
    "handle in a generator": lambda: _late,
    "handle in a framework": lambda: _framework,
    "WSGI": lambda: ap4r.require_delivery(_answer),
    "WSGI with parentheses": lambda: ap4r.require_delivery()(_answer),
    "Flask": _flask,
    "Django": _django,
}


def wrapped(application, **more):
    """Put the middleware around an application."""
    return AP4RMiddleware(application, store=MemorySink(), secrets=[secret(1)], **more)


def now():
    """Return the time, for signatures."""
    return datetime.datetime.now(datetime.UTC).timestamp()


@pytest.mark.parametrize("kind", KINDS)
def test_a_delivery_is_let_in(kind):
    """What our own dispatcher has signed reaches the action."""
    answer = exchange(wrapped(KINDS[kind]()), environ_of(signed_request(secret(1), now=now())))
    assert (answer.status, answer.body) == ("200 OK", b"RAN")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, "no signature"),
        ({"HTTP_AP4R_SIGNATURE": "v1,AAAA", "HTTP_WEBHOOK_ID": "1"}, "webhook-timestamp is missing"),
        ({"HTTP_AP4R_SIGNATURE": "v1,AAAA", "HTTP_WEBHOOK_ID": "1", "HTTP_WEBHOOK_TIMESTAMP": "1"}, "five minutes"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_other_request_is_answered_403_with_the_reason(kind, more, why):
    """Also where the framework makes a 500 of the exception, or the body begins late."""
    answer = exchange(wrapped(KINDS[kind]()), make_environ("POST", "/async/work", **more))
    assert answer.status.upper() == "403 FORBIDDEN"
    assert why in answer.body.decode()
    assert b"RAN" not in answer.body


@pytest.mark.parametrize("kind", ["WSGI", "Flask"])
def test_without_the_middleware_nothing_is_let_in(kind):
    """A decorator that cannot see who calls refuses."""
    answer = exchange(KINDS[kind](), environ_of(signed_request(secret(1), now=now())))
    assert answer.status.upper() == "403 FORBIDDEN"
    assert b"no AP4RMiddleware" in answer.body


@pytest.mark.parametrize("signed", [True, False])
def test_an_asynchronous_view_insists_too(signed):
    """Django calls it through asgiref; who may call is decided before."""
    environ = make_environ("POST", "/async/later")
    if signed:
        environ = environ_of(signed_request(secret(1), now=now(), url="http://10.0.0.5:8000/async/later"))
    answer = exchange(wrapped(_django()), environ)
    assert (answer.status, answer.body == b"RAN") == ("200 OK" if signed else "403 Forbidden", signed)


def test_a_signature_that_covers_no_path_is_not_enough():
    """Our own secret without Ap4r-Signature proves id, time and body, and not where they were to go."""
    environ = environ_of(signed_request(secret(1), now=now()))
    del environ["HTTP_AP4R_SIGNATURE"]
    answer = exchange(wrapped(_insisting), environ)
    assert (answer.status, b"no Ap4r-Signature" in answer.body) == ("403 Forbidden", True)


def test_another_sender_is_asked_for_by_name():
    """Neither is our dispatcher billing, nor billing our dispatcher."""
    application = wrapped(_flask(), senders={"billing": [secret_text(5)]})
    url = "http://10.0.0.5:8000/hook"
    assert exchange(application, environ_of(signed_request(secret(5), now=now(), url=url))).body == b"RAN"
    ours = exchange(application, environ_of(signed_request(secret(1), now=now(), url=url)))
    assert b"ap4r signed it" in ours.body
    theirs = exchange(application, environ_of(signed_request(secret(5), now=now())))
    assert b"billing signed it" in theirs.body
