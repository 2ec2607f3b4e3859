"""The middleware on its own store, under every server: forked, recycled, threaded, greened, and with the store away."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import storefile
from tests.support.processes import Processes, free_port
from tests.support.rawclient import ask_raw
from tests.support.servers import SERVERS, is_installed, start_server

REQUESTS = 60


@pytest.fixture
def processes(tmp_path):
    """Processes that end with the test."""
    with Processes(tmp_path) as started:
        yield started


def start(processes, server, **environ):
    """Start a server on a store of its own; return its port and the store's path."""
    if not is_installed(server):
        pytest.skip(f"{server} is not installed")
    port, store = free_port(), processes.folder / "ap4r.db"
    start_server(processes, server, port, "tests.support.apps:served", AP4R_STORE=f"sqlite:///{store}", **environ)
    return port, store


@pytest.mark.parametrize("server", list(SERVERS))
def test_every_process_and_thread_stores(server, processes):
    """Of many requests at once each is stored exactly when it succeeded, whichever process or thread served it."""
    port, store = start(processes, server)
    kinds = ["one_chunk", "generator_with_length", "written", "not_found", "raised_in_body", "no_content"]

    def request(number):
        kind = kinds[number % len(kinds)]
        return kind, ask_raw(port, f"/kept/{kind}?messages=2&request={number}").status

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(request, range(REQUESTS)))
    assert dict(answers) == {
        "one_chunk": 200,
        "generator_with_length": 200,
        "written": 200,
        "no_content": 204,
        "not_found": 404,
        "raised_in_body": 500,
    }
    assert storefile.count(store, "ready") == 2 * sum(status < 400 for _, status in answers) == 80


@pytest.mark.parametrize("server", ["wsgiref", "gunicorn-sync", "gunicorn-gthread"])
def test_a_locked_store_is_answered_503_and_work_goes_on_behind_it(server, processes):
    """While another process locks the file no client reads a success; then all is as before."""
    port, store = start(processes, server, AP4R_STORE_DEADLINE_SECONDS="0.5")
    assert ask_raw(port, "/kept/one_chunk?messages=1").status == 200
    lock = sqlite3.connect(store, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        refused = ask_raw(port, "/kept/one_chunk?messages=1")
        assert refused.status == 503
        assert "none of them will be sent" in refused.text
        assert ask_raw(port, "/kept/one_chunk?messages=0").status == 200
    finally:
        lock.close()
    assert ask_raw(port, "/kept/one_chunk?messages=1").status == 200
    assert storefile.count(store, "ready") == 2


def test_a_store_that_cannot_be_is_answered_503(processes):
    """A folder that is not there: requests without messages go on, those with messages fail."""
    port = free_port()
    url = f"sqlite:///{processes.folder}/no/such/folder/ap4r.db"
    server = start_server(processes, "wsgiref", port, "tests.support.apps:served", AP4R_STORE=url)
    assert ask_raw(port, "/kept/one_chunk").status == 200
    assert ask_raw(port, "/kept/one_chunk?messages=1").status == 503
    assert "no/such/folder" in server.output
