"""A plugin of pytest: wraps every WSGI application that a public test suite calls in the middleware.

AP4R_SUITE names the suite. With AP4R_SUITE_SAYS=1 each request says one message before its application runs, with
AP4R_SUITE=none nothing is wrapped. Outcomes are written to the file AP4R_SUITE_OUTCOMES, one JSON object.

It is in a folder of its own because the suites have packages named `tests` themselves.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ap4r.middleware import AP4RMiddleware

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
SAYS = os.environ.get("AP4R_SUITE_SAYS") == "1"
STATE = {"requests": 0, "stored": 0}
_lock = threading.Lock()
_turn = threading.local()


class Sink:
    """Stands for a store: counts what is put."""

    def put(self, put: Any) -> None:
        """Count."""
        with _lock:
            STATE["stored"] += len(put.messages)


SINK = Sink()


def _call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Call the application whose turn it is in this thread; it says a message first."""
    handle = environ.get("ap4r") if isinstance(environ, dict) else None
    with _lock:
        STATE["requests"] += 1
    if SAYS and handle is not None:
        handle.async_to("/work", {"said": "1"}, on="always")
    app: Application = _turn.app
    return app(environ, start_response)


#: One for all: to make one reads the settings.
MIDDLEWARE = AP4RMiddleware(_call, store=SINK)


class Wrapped:
    """An application in the middleware."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        _turn.app = self._app
        return MIDDLEWARE(environ, start_response)


def wrapped(app: Application) -> Application:
    """Wrap an application, once."""
    return app if isinstance(app, Wrapped) else Wrapped(app)


def _werkzeug() -> None:
    import werkzeug.test

    run = werkzeug.test.run_wsgi_app

    def run_wsgi_app(app: Application, environ: Any, buffered: bool = False) -> Any:
        return run(wrapped(app), environ, buffered)

    werkzeug.test.run_wsgi_app = run_wsgi_app


def _flask() -> None:
    import flask

    call = flask.Flask.wsgi_app

    def wsgi_app(self: flask.Flask, environ: Any, start_response: Any) -> Any:
        return wrapped(lambda *arguments: call(self, *arguments))(environ, start_response)

    flask.Flask.wsgi_app = wsgi_app  # type: ignore[method-assign]


def _webob() -> None:
    from webob.request import BaseRequest

    call = BaseRequest.call_application

    def call_application(self: Any, application: Application, catch_exc_info: bool = False) -> Any:
        return call(self, wrapped(application), catch_exc_info)

    BaseRequest.call_application = call_application


def _bottle() -> None:
    import bottle

    call = bottle.Bottle.wsgi

    def wsgi(self: Any, environ: Any, start_response: Any) -> Any:
        return wrapped(lambda *arguments: call(self, *arguments))(environ, start_response)

    bottle.Bottle.wsgi = wsgi


def _waitress() -> None:
    from waitress.task import WSGITask

    execute = WSGITask.execute

    def wrapped_execute(self: Any) -> None:
        self.channel.server.application = wrapped(self.channel.server.application)
        execute(self)

    WSGITask.execute = wrapped_execute


def _wsgiref() -> None:
    from wsgiref.handlers import BaseHandler

    run = BaseHandler.run

    def wrapped_run(self: Any, application: Application) -> None:
        run(self, wrapped(application))

    BaseHandler.run = wrapped_run  # type: ignore[method-assign]


WRAP: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "werkzeug": _werkzeug,
    "flask": _flask,
    "webob": _webob,
    "bottle": _bottle,
    "waitress": _waitress,
    "wsgiref": _wsgiref,
}


class Outcomes:
    """Writes down how each test ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed: dict[str, str] = {}
        self._passed = 0
        self._files: dict[str, int] = {}
        self._before = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure; an error in the setup or the end is one too."""
        if report.failed:
            self._failed.setdefault(report.nodeid, str(report.longrepr)[-2_000:])
        elif report.passed and report.when == "call":
            self._passed += 1
        if STATE["requests"] > self._before:
            file = report.nodeid.partition("::")[0]
            self._files[file] = self._files.get(file, 0) + STATE["requests"] - self._before
            self._before = STATE["requests"]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be read."""
        if report.failed:
            self._failed.setdefault(report.nodeid, str(report.longrepr)[-2_000:])

    def pytest_sessionfinish(self) -> None:
        """Write all."""
        self._path.write_text(
            json.dumps({"failed": self._failed, "passed": self._passed, "files": self._files, **STATE})
        )


def pytest_configure(config: pytest.Config) -> None:
    """Wrap, before any test file is read."""
    # How fast the machine is, is no concern of theirs here.
    config.addinivalue_line("markers", "timeout: not held to")
    WRAP[os.environ["AP4R_SUITE"]]()
    config.pluginmanager.register(Outcomes(Path(os.environ["AP4R_SUITE_OUTCOMES"])), "ap4r-outcomes")
