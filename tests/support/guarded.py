"""Applications that take deliveries on internal paths: plain WSGI, Django as in production, Flask with Flask-WTF.

Each writes a line into the file TESTS_CALLS for every request that reached its handlers, and answers 204.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ap4r.middleware import AP4RMiddleware
from tests.support.sink import MemorySink


def _note(environ: dict[str, Any], body: bytes) -> None:
    handle = environ["ap4r"]
    delivery = handle.delivery
    line = {
        "path": environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"],
        "method": environ["REQUEST_METHOD"],
        "body": body.decode("latin-1"),
        "id": delivery and delivery.id,
        "sender": delivery and delivery.sender,
        "attempt": delivery and delivery.attempt,
    }
    with open(os.environ["TESTS_CALLS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def plain() -> Any:
    """Create the plain application: everything below /async is internal."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        length = environ.get("CONTENT_LENGTH")
        body = environ["wsgi.input"].read(int(length)) if length else b""
        _note(environ, body)
        start_response("204 No Content", [])
        return []

    return AP4RMiddleware(application, store=MemorySink(), internal=["/async/*"])


def django() -> Any:
    """Create a Django project with production's settings; /async/work requires a form token except for deliveries."""
    import django as framework
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_protect

    bridge = "ap4r.contrib.django.CsrfViewMiddleware"
    own = "django.middleware.csrf.CsrfViewMiddleware"
    settings.configure(
        DEBUG=False,
        SECRET_KEY="not a secret",
        ALLOWED_HOSTS=["shop.example.com"],
        ROOT_URLCONF=__name__,
        SECURE_SSL_REDIRECT=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        CSRF_COOKIE_SECURE=True,
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            own if os.environ.get("TESTS_WITHOUT_BRIDGE") else bridge,
        ],
    )
    framework.setup()

    def work(request: HttpRequest) -> HttpResponse:
        _note(request.environ, request.body)
        return HttpResponse(status=204)

    globals()["urlpatterns"] = [path("async/work", work), path("async/decorated", csrf_protect(work))]
    return AP4RMiddleware(get_wsgi_application(), store=MemorySink())


def flask() -> Any:
    """Create a Flask application under Flask-WTF; its form requires a token except for deliveries."""
    import flask as framework
    from flask_wtf import FlaskForm
    from wtforms import StringField

    from ap4r.contrib.flask import CSRFProtect

    app = framework.Flask("guarded")
    app.config.update(SECRET_KEY="not a secret")
    CSRFProtect(app)

    class Form(FlaskForm):
        number = StringField()

    @app.post("/async/work")
    def work() -> tuple[str, int]:
        if not Form().validate_on_submit():
            return "the form is wrong", 422
        _note(framework.request.environ, framework.request.form["number"].encode())
        return "", 204

    app.wsgi_app = AP4RMiddleware(app.wsgi_app, store=MemorySink())
    return app
