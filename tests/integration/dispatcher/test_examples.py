"""The examples of README and docs end: no message of theirs asks for messages without end."""

from __future__ import annotations

import http.client
import inspect
import re
import sqlite3
from collections import deque
from contextlib import closing

import pytest

from ap4r.middleware import AP4RMiddleware
from tests.meta.tree import DOCUMENTS, blocks
from tests.support.ports import free_port
from tests.support.probe import wait_until
from tests.support.sink import MemorySink
from tests.support.wire import exchange, make_environ

MOST_CALLS = 200  #: far more than an example that ends has
_PATH = re.compile(r"[\"'](/[a-z][a-z0-9/_-]*)[\"']")


def _examples():
    """Return the blocks that make an application, with those before them that they need."""
    for document in DOCUMENTS:
        before = []
        for block in blocks(document, "python"):
            if not block.run:
                continue
            before.append(block)
            # Those that write over the application's own connection have a database that is none of ours.
            in_own_database = "connection=" in block.text
            if (
                "async_to" in block.text
                and not in_own_database
                and ("start_response" in block.text or "flask.Flask" in block.text)
            ):
                yield pytest.param(list(before), id=str(block))


def _application(names, block):
    """Find what the block's reader would serve."""
    found = re.findall(r"^(?:def )?(\w+)(?: =|\()", block.text, re.MULTILINE)
    for one in reversed([names[name] for name in found if name in names]):
        if hasattr(one, "wsgi_app"):
            return one.wsgi_app
        if isinstance(one, AP4RMiddleware):
            return one
        if inspect.isfunction(one) and list(inspect.signature(one).parameters) == ["environ", "start_response"]:
            return one
    raise AssertionError(f"{block} makes no application")


def _serve(application, sink):
    """Put the sink beneath an application."""
    within = application._app if isinstance(application, AP4RMiddleware) else application
    routes = application._routes if isinstance(application, AP4RMiddleware) else None
    return AP4RMiddleware(within, store=sink, routes=routes, config=None)


@pytest.mark.parametrize("example", list(_examples()))
def test_an_example_does_not_feed_itself(example, tmp_path, monkeypatch):
    """One request to each of its paths, and whatever is asked for is called, until nothing is asked for any more.

    A block that is one handler of an application is that for its own path; the others answer 204.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AP4R_STORE", f"sqlite:///{tmp_path}/ap4r.db")
    names = {"__name__": "document"}
    for block in example:
        exec(block.text, names)
    sink = MemorySink()
    is_handler = "def handler(" in example[-1].text or "def place_order(environ" in example[-1].text
    application = _application(names, example[-1])
    if is_handler:
        handler = application

        def application(environ, start_response):
            if environ["PATH_INFO"] == "/orders":
                return handler(environ, start_response)
            start_response("204 No Content", [])
            return []

    served = _serve(application, sink)
    calls = 0
    for path in {"/", "/orders", *_PATH.findall(example[-1].text)}:
        exchange(served, make_environ("POST", path))
    waiting = deque(sink.messages)
    assert waiting, "the example asks for nothing"
    while waiting:
        message = waiting.popleft()
        if message.target.upstream is None:
            continue
        calls += 1
        assert calls <= MOST_CALLS, f"{example[-1]} feeds itself"
        known = len(sink.messages)
        depth = dict(message.headers).get("Ap4r-Depth", "0")
        path, _, query = message.target.url.partition("?")
        environ = make_environ(message.method, path, query, HTTP_AP4R_MESSAGE_ID=message.id, HTTP_AP4R_DEPTH=depth)
        exchange(served, environ)
        waiting.extend(sink.messages[known:])


def test_the_first_example_served_as_a_reader_would(processes, monkeypatch):
    """Pasted into shop.py and served by one command: an order is one delivery, and then it is quiet."""
    [first, *_] = blocks(DOCUMENTS[[path.name for path in DOCUMENTS].index("README.md")], "python")
    (processes.folder / "shop.py").write_text(first.text)
    port = free_port()
    process = processes.twistd_ap4r(
        *("--listen", "none", "--app", "shop:application", "--app-listen", f"tcp:{port}:interface=127.0.0.1")
    )
    process.wait_for_output("started")
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", "/orders")
        assert connection.getresponse().status == 200
    with sqlite3.connect(processes.folder / "ap4r.db") as store:
        tables = [f"ap4r_{name}" for name in ("ready", "scheduled", "leased", "dead")]

        def left():
            return sum(store.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)

        wait_until(lambda: left() == 0, "the message is delivered")
    assert process.output.count("stdout: sending the mail: order=12") == 1
    assert "feeds itself" not in process.output


def test_an_action_that_asks_for_itself_is_stopped():
    """At max_depth its handler gets an error that says what to do; the message before it was still asked for."""
    errors = []

    def application(environ, start_response):
        try:
            environ["ap4r"].async_to("/again")
        except ValueError as error:
            errors.append(error)
        start_response("204 No Content", [])
        return []

    sink = MemorySink()
    served = AP4RMiddleware(application, store=sink, config=None, max_depth=7)
    exchange(served, make_environ("POST", "/again"))
    calls = 0
    while calls < len(sink.messages):
        message = sink.messages[calls]
        calls += 1
        depth = dict(message.headers).get("Ap4r-Depth", "0")
        exchange(served, make_environ("POST", "/again", HTTP_AP4R_MESSAGE_ID=message.id, HTTP_AP4R_DEPTH=depth))
    assert calls == 8, "depth 0 to 7"
    [error] = errors
    assert "max_depth is 7" in str(error)
    assert (error.depth, error.limit) == (8, 7)
