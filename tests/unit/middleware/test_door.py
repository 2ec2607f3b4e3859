"""Who is let in as a delivery, and who is kept from internal paths."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import logging
from wsgiref.validate import validator

import pytest
from standardwebhooks.webhooks import Webhook

from ap4r.control.trust_check import probe_headers
from ap4r.errors import ConfigError
from ap4r.middleware import AP4RMiddleware
from ap4r.middleware.deliveries.gate import DeliveryGate, GateResponse
from ap4r.settings.load import load_settings
from ap4r.settings.settings import Settings
from tests.support.factories import NOW
from tests.support.signed import environ_of, headers_of, secret, secret_text, signed_request
from tests.support.sink import MemorySink
from tests.support.wire import exchange, make_environ

SETTINGS = load_settings(None, {}, secrets=[secret(1), secret(2)], senders={"stripe": [secret_text(5)]})


def door(*internal, settings=SETTINGS, now=NOW):
    """Create a door whose clock is stopped."""
    return DeliveryGate(settings, internal, now=lambda: now)


def admit(environ, *internal, now=NOW):
    """Bring a request to the door."""
    return door(*internal, now=now).admit(environ)


def webhook(number=5, body=b"{}", path="/hooks", now=NOW, message_id="msg_1", **more):
    """Build a request that the public package signed."""
    at = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    return make_environ(
        "POST", path, CONTENT_LENGTH=str(len(body)), HTTP_WEBHOOK_ID=message_id,
        HTTP_WEBHOOK_TIMESTAMP=str(int(now)),
        HTTP_WEBHOOK_SIGNATURE=Webhook(secret_text(number)).sign(message_id, at, body.decode()),
        **{"wsgi.input": io.BytesIO(body), **more},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("script_name", "path_info"), [("/x", "/async/work"), ("/pub", "async/work"), ("/x/async", "/work")]
)
def test_a_script_name_opens_no_internal_path(script_name, path_info):
    """Servers take SCRIPT_NAME from a client's header, and frameworks route without it."""
    environ = make_environ("POST", path_info, SCRIPT_NAME=script_name)
    assert door("/async/*").concerns(environ)
    assert admit(environ, "/async/*").status == "403 Forbidden"


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("internal", [(), ("/async/*",)])
def test_what_the_dispatcher_signed_is_a_delivery(number, internal):
    """By any of the secrets; with id, queue, attempt and expiry, and the body still to be read."""
    request = signed_request(secret(number), queue="größe 1")
    environ = environ_of(request)
    delivery = admit(environ, *internal)
    assert delivery.sender == "ap4r"
    assert delivery.id == headers_of(request)["webhook-id"][0]
    assert (delivery.queue, delivery.attempt, delivery.path) == ("größe 1", 2, "/async/work")
    assert delivery.expires_at == int(headers_of(request)["ap4r-expires"][0])
    assert (delivery.signed_at, delivery.whole_request_signed) == (int(NOW), True)
    assert delivery.body_sha256 == hashlib.sha256(b"id=12").digest()
    assert environ["wsgi.input"].read() == b"id=12"


@pytest.mark.parametrize(
    "change",
    [
        {"REQUEST_METHOD": "PUT"},
        {"PATH_INFO": "/async/other"},
        {"SCRIPT_NAME": "/async"},
        {"QUERY_STRING": "a=2"},
        {"QUERY_STRING": ""},
        {"CONTENT_TYPE": "application/json"},
        {"HTTP_AP4R_QUEUE": "queue.b"},
        {"HTTP_AP4R_ATTEMPT": "1"},
        {"HTTP_AP4R_EXPIRES": "1"},
        {"HTTP_AP4R_MESSAGE_ID": "x"},
        {"HTTP_AP4R_NEW": "x"},
        {"HTTP_WEBHOOK_ID": "x"},
        {"HTTP_WEBHOOK_ID": ""},
        {"HTTP_WEBHOOK_TIMESTAMP": str(int(NOW) + 1)},
        {"HTTP_WEBHOOK_TIMESTAMP": ""},
        {"HTTP_WEBHOOK_SIGNATURE": "v1,AAAA"},
        {"HTTP_AP4R_SIGNATURE": "v1,AAAA"},
        {"HTTP_AP4R_SIGNATURE": "v1,größe"},
        {"body": b"id=13"},
        {"CONTENT_LENGTH": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("internal", [(), ("/*",)])
def test_a_request_that_was_changed_is_none(change, internal):
    """Whatever is changed on the way: elsewhere no delivery, on an internal path 403."""
    environ = environ_of(signed_request(secret(1)), **change)
    if "body" in change:
        environ["wsgi.input"] = io.BytesIO(environ.pop("body"))
    admitted = admit(environ, *internal)
    if internal:
        assert admitted.status == "403 Forbidden"
    else:
        assert admitted is None


def test_a_split_path_is_the_same_path():
    """A mounted application sees SCRIPT_NAME and PATH_INFO; together they are what was signed."""
    environ = environ_of(signed_request(secret(1)), SCRIPT_NAME="/async", PATH_INFO="/work")
    assert admit(environ, "/async/*").path == "/async/work"


def test_another_secret_signs_nothing_here():
    """A secret that is not ours is a stranger's, with all headers in place."""
    environ = environ_of(signed_request(secret(9)))
    assert admit(dict(environ)) is None
    assert isinstance(admit(environ, "/async/*"), GateResponse)


@pytest.mark.parametrize(("late", "verified"), [(300, True), (-300, True), (302, False), (-302, False)])
def test_a_signature_is_good_for_five_minutes(late, verified):
    """A request that was recorded cannot be sent again later; clocks may differ a little."""
    environ = environ_of(signed_request(secret(1)))
    assert (admit(environ, now=int(NOW) + late) is not None) is verified


def test_a_sender_with_its_own_secret_is_known_by_name():
    """Standard Webhooks of another sender, signed by the public package, are a delivery; queue and attempt are not."""
    delivery = admit(webhook(HTTP_AP4R_QUEUE="forged", HTTP_AP4R_ATTEMPT="9", HTTP_AP4R_EXPIRES="9"))
    assert (delivery.sender, delivery.id, delivery.path) == ("stripe", "msg_1", "/hooks")
    assert (delivery.queue, delivery.attempt, delivery.expires_at) == (None, None, None)
    assert not delivery.whole_request_signed


def test_a_sender_may_be_another_ap4r():
    """A sender that signs the whole request has its queue and attempt known."""
    delivery = admit(environ_of(signed_request(secret(5))))
    assert (delivery.sender, delivery.attempt, delivery.whole_request_signed) == ("stripe", 2, True)


@pytest.mark.parametrize(
    "make", [lambda: webhook(5), lambda: webhook(1), lambda: environ_of(signed_request(secret(5)))]
)
def test_internal_is_for_our_own_dispatcher(make):
    """Neither another sender, nor a signature that does not cover path and method, opens an internal path."""
    assert admit(make(), "/*").status == "403 Forbidden"


def test_our_own_secret_signs_standard_webhooks_too():
    """A program of ours without ap4r may sign with the public package; id, time and body are proved."""
    delivery = admit(webhook(1))
    assert (delivery.sender, delivery.id, delivery.queue) == ("ap4r", "msg_1", None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "TRACE", "get", "FOO"])
def test_an_internal_path_answers_403_to_every_method(method):
    """Also to a method that claims to be another."""
    environ = make_environ(method, "/async/work", HTTP_X_HTTP_METHOD_OVERRIDE="GET")
    assert admit(environ, "/async/*").status == "403 Forbidden"


@pytest.mark.parametrize("path", ["/r\xffun", "/public/../x", "/a\\b", "/a\0b", "/async/r\xffun"])
def test_a_path_that_can_be_read_in_two_ways_is_400(path):
    """Where internal paths exist, whatever such a path leads to; elsewhere it is the application's business."""
    environ = make_environ("GET", path)
    assert door("/async/*").concerns(environ)
    assert admit(environ, "/async/*").status == "400 Bad Request"
    assert not door().concerns(environ)


def test_what_the_dispatcher_signed_may_have_any_path():
    """The signature covers the path, byte by byte; another sender's does not and is refused."""
    request = signed_request(secret(1), url="http://10.0.0.5:8000/caf%e9")
    assert admit(environ_of(request), "/async/*").sender == "ap4r"
    assert admit(webhook(path="/caf\xe9"), "/async/*").status == "400 Bad Request"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("HTTP_SCRIPT_NAME", "/async"),
        ("HTTP_X_FORWARDED_PREFIX", "async/"),
        ("HTTP_X_SCRIPT_NAME", "/%61sync"),
    ],
)
def test_a_mount_that_a_header_names_makes_no_delivery(header, value):
    """No signature covers how the path is split, so a captured delivery could be led to another action."""
    environ = environ_of(signed_request(secret(1)), SCRIPT_NAME="/async", PATH_INFO="/work", **{header: value})
    assert admit(dict(environ)) is None
    assert admit(dict(environ), "/async/*").status == "403 Forbidden"
    trusting = dataclasses.replace(SETTINGS, script_names=("/async",))
    assert door(settings=trusting).admit(environ).sender == "ap4r"


def test_a_body_over_the_limit_is_413():
    """A request that claims to be a delivery is not read beyond max_body_bytes."""
    small = dataclasses.replace(SETTINGS, max_body_bytes=4)
    for internal in ((), ("/*",)):
        environ = environ_of(signed_request(secret(1)))
        assert door(*internal, settings=small).admit(environ).status.startswith("413")
        assert environ["wsgi.input"].tell() == 0


def test_internal_without_a_secret_is_an_error_at_start():
    """An open door would look like a closed one; the error names the command that makes a secret."""
    with pytest.raises(ConfigError, match="ap4r init"):
        AP4RMiddleware(lambda *_: [], store=MemorySink(), internal=["/async/*"], config=None)
    with pytest.raises(ConfigError, match="ap4r init"):
        DeliveryGate(load_settings(None, {}, senders={"stripe": [secret_text(5)]}), ["/async/*"])


def test_without_anything_to_verify_there_is_no_door():
    """No secret and no sender: signature headers mean nothing and nothing is read."""
    assert not DeliveryGate(Settings(), []).is_needed
    assert door().is_needed


@pytest.mark.parametrize(
    ("more", "concerned"),
    [
        ({}, False),
        ({"PATH_INFO": "/async/x"}, True),
        ({"HTTP_WEBHOOK_SIGNATURE": ""}, True),
        ({"HTTP_AP4R_SIGNATURE": "x"}, True),
        ({"HTTP_AP4R_MESSAGE_ID": "x", "HTTP_WEBHOOK_ID": "x"}, False),
    ],
)
def test_only_claims_and_internal_paths_concern_the_door(more, concerned):
    """Every other request passes, its body unread."""
    assert door("/async/*").concerns(make_environ() | more) is concerned


def test_lines_about_strangers_are_few(caplog):
    """A flood of forged requests is one line, which counts the rest later; none quotes a signature."""
    one = door()
    with caplog.at_level(logging.WARNING, "ap4r.middleware"):
        for _ in range(1_000):
            assert one.admit(environ_of(signed_request(secret(9)))) is None
    [record] = caplog.records
    assert "/async/work" in record.getMessage()
    assert "v1," not in record.getMessage()


def _application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    delivery = environ.get("tests.handle", environ.get("ap4r")).delivery
    answer = repr(delivery and delivery.id).encode() + b" " + body
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


def _wrapped(application, **more):
    return AP4RMiddleware(application, store=MemorySink(), secrets=[secret(1)], **more)


def _validated(environ, start_response):
    # The validator takes a key without a dot for a variable of the operating system, which is a string.
    environ["tests.handle"] = environ.pop("ap4r")
    return validator(_application)(environ, start_response)


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_the_replaced_input_keeps_to_pep_3333(inner, chunked):
    """The standard library's validator, within and around, finds nothing; the handler gets delivery and body."""
    request = signed_request(secret(1), now=datetime.datetime.now(datetime.UTC).timestamp())
    environ = environ_of(request)
    if chunked:
        del environ["CONTENT_LENGTH"]
        environ |= {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    application = validator(_wrapped(_validated if inner else _application))
    answer = exchange(application, environ)
    assert answer.raised is None
    assert answer.status == "200 OK"
    assert answer.body == repr(headers_of(request)["webhook-id"][0]).encode() + b" id=12"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_refusal_keeps_to_pep_3333(method):
    """The 403 is a proper response, to HEAD without a body, and the application is not called."""
    application = validator(_wrapped(lambda *_: pytest.fail("called"), internal=["/async/*"]))
    answer = exchange(application, make_environ(method, "/async/work"))
    assert answer.status == "403 Forbidden"
    assert bool(answer.body) is (method != "HEAD")


def test_a_handler_sees_none_without_a_delivery():
    """`environ["ap4r"].delivery` is there for every request; headers alone make none of it."""
    environ = make_environ("POST", "/x", HTTP_AP4R_MESSAGE_ID="forged", HTTP_AP4R_ATTEMPT="1")
    assert exchange(_wrapped(_application), environ).body == b"None "


@pytest.mark.parametrize("outer", [{}, {"internal": ["/other"]}])
def test_an_inner_middleware_keeps_its_own_door(outer):
    """Nested in another one of the same store, `internal` and the delivery still hold."""
    sink = MemorySink()

    def nested(**more):
        within = AP4RMiddleware(_application, store=sink, secrets=[secret(1)], internal=["/async/*"])
        return AP4RMiddleware(within, store=sink, **more)

    outer = {**outer, **({"secrets": [secret(1)]} if outer else {})}
    assert exchange(nested(**outer), make_environ("POST", "/async/work")).status == "403 Forbidden"
    request = signed_request(secret(1), now=datetime.datetime.now(datetime.UTC).timestamp())
    assert exchange(nested(**outer), environ_of(request)).body.endswith(b" id=12")


@pytest.mark.parametrize(("number", "status"), [(1, "200 OK"), (9, None), (5, None)])
def test_a_probe_with_the_secret_is_answered(number, status):
    """`ap4r doctor` learns that the secret is shared; to anybody else the header means nothing."""
    settings = dataclasses.replace(SETTINGS, secrets=(secret(number),))
    environ = make_environ(
        "GET",
        "/",
        "",
        **{
            "HTTP_" + name.upper().replace("-", "_"): value for name, value in probe_headers(settings, "/", NOW).items()
        },
    )
    admitted = admit(environ)
    if status is None:
        assert not isinstance(admitted, GateResponse)
    else:
        assert (admitted.status, admitted.headers) == (status, (("Ap4r-Verified", "yes"),))
