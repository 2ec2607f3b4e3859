"""Django and Flask as outside judges: their own kinds of response, streamed, raised and closed."""

from __future__ import annotations

import io
from contextlib import nullcontext
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from ap4r.middleware import AP4RMiddleware
from tests.support.django_settings import configure, routed_by
from tests.support.sink import MemorySink, unavailable
from tests.support.wire import exchange, make_environ

#: path → status, body, whether the message is stored
EXPECTED = {
    "/plain": (200, b"done", True),
    "/stream": (200, b"0123456789", True),
    "/file": (200, b"content", True),
    "/redirect": (302, b"", True),
    "/empty": (204, b"", True),
    "/missing": (404, None, False),
    "/raise": (500, None, False),
    "/cut": (500, None, False),
    "/block": (200, b"done", False),
}


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


def flask_application():
    """Create the views in Flask."""
    flask = pytest.importorskip("flask")
    app = flask.Flask("tests")

    def say():
        flask.request.environ["ap4r"].async_to("/work")

    @app.get("/<way>")
    def view(way):
        if way == "block":
            with pytest.raises(KeyError), flask.request.environ["ap4r"].transaction():
                say()
                raise KeyError
            return "done"
        say()
        if way == "plain":
            return "done"
        if way == "stream":
            return flask.Response(str(number) for number in range(10))
        if way == "file":
            return flask.send_file(io.BytesIO(b"content"), mimetype="text/plain")
        if way == "redirect":
            return flask.Response(status=302, headers={"Location": "/plain"})
        if way == "empty":
            return "", 204
        if way == "missing":
            flask.abort(404)
        if way == "cut":
            return flask.Response(cut())
        raise LookupError("own")

    return app


def cut():
    """Stream, and fail in the middle."""
    yield "0"
    yield "1"
    raise LookupError("in the body")


def django_application():
    """Create the views in Django."""
    configure()
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()


def django_view(request, way):
    """Answer as the path says."""
    from django.http import FileResponse, Http404, HttpResponse, HttpResponseRedirect, StreamingHttpResponse

    handle = request.environ["ap4r"]
    if way == "block":
        with pytest.raises(KeyError), handle.transaction():
            handle.async_to("/work")
            raise KeyError
        return HttpResponse("done")
    handle.async_to("/work")
    if way == "plain":
        return HttpResponse("done")
    if way == "stream":
        return StreamingHttpResponse(str(number) for number in range(10))
    if way == "file":
        return FileResponse(io.BytesIO(b"content"), content_type="text/plain")
    if way == "redirect":
        return HttpResponseRedirect("/plain")
    if way == "empty":
        return HttpResponse(status=204)
    if way == "missing":
        raise Http404
    if way == "cut":
        return StreamingHttpResponse(cut())
    raise LookupError("own")


def __getattr__(name):
    if name == "urlpatterns":
        from django.urls import path

        return [path("<way>", django_view)]
    raise AttributeError(name)


@pytest.fixture(params=[flask_application, django_application], ids=["flask", "django"])
def framework(request):
    """An application of a framework."""
    with routed_by(__name__) if request.param is django_application else nullcontext():
        yield request.param()


@pytest.mark.parametrize("path", list(EXPECTED))
@pytest.mark.parametrize("validated", [False, True])
def test_a_frameworks_responses_are_kept(path, validated, framework, sink):
    """Statuses and bodies are the framework's own, and its messages follow them, before the last byte."""
    status, body, stored = EXPECTED[path]
    if validated and path == "/empty":
        pytest.skip("both frameworks give a 204 a Content-Type, which the validator refuses")
    app = AP4RMiddleware(framework, store=sink)
    environ = make_environ(path=path) if validated else make_environ(path=path, **{"wsgi.file_wrapper": FileWrapper})
    answer = exchange(validator(app) if validated else app, environ, mark=lambda: len(sink.puts))
    assert answer.code == status
    assert body is None or answer.body == body
    assert len(sink.puts) == stored
    assert answer.marks[-1:] in ([int(stored)], [])
    assert (answer.raised is not None) is (path == "/cut")


@pytest.mark.parametrize("path", [path for path, (_, _, stored) in EXPECTED.items() if stored])
def test_a_framework_never_sends_a_false_success(path, framework, sink):
    """With the store away every good answer becomes a 503."""
    sink.error = unavailable()
    answer = exchange(AP4RMiddleware(framework, store=sink), make_environ(path=path))
    assert answer.code == 503


@pytest.mark.parametrize("path", ["/plain", "/stream", "/redirect"])
def test_head_to_a_framework(path, framework, sink):
    """The answer to HEAD counts by its status."""
    answer = exchange(AP4RMiddleware(framework, store=sink), make_environ("HEAD", path))
    assert answer.code == EXPECTED[path][0]
    assert len(sink.puts) == 1
