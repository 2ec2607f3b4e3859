"""One dispatcher on three stores at once, a file and two servers: one goes away, the others go on, it comes back."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from statistics import median
from urllib.parse import urlsplit

import pytest

from tests.support.databases import KINDS, shared_server
from tests.support.factories import messages, put
from tests.support.probe import wait_until
from tests.support.processes import HOST, free_port
from tests.support.target import ScriptedTarget


@pytest.fixture
def target():
    """A target in threads of this process."""
    with ScriptedTarget() as scripted:
        yield scripted


@pytest.fixture
def urls(tmp_path):
    """An empty store of each kind."""
    return {"sqlite": f"sqlite:///{tmp_path}/ap4r.db", **{kind: shared_server(kind).make("own") for kind in KINDS}}


@pytest.fixture
def send(opened):
    """Put messages into a store and ring; return their ids."""

    def send(url, count=5):
        described = messages(count)
        store = opened(url)
        put(store, *described, now=None)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ringing:
            for bell in store.bells():
                address = urlsplit(bell)
                ringing.sendto(b"ap4r", (address.hostname, address.port))
        store.close()
        return {one.id for one in described}

    return send


def health(port):
    """Ask for the health page; return the status, and the facts of each store by its kind."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=15) as response:
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    kinds = {"sqlite": "sqlite", "mysql+pymysql": "mariadb", "postgresql+psycopg": "postgresql"}
    return status, {kinds[store["store"].partition(":")[0]]: store for store in json.loads(body)["stores"]}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("away", sorted(KINDS))
def test_one_goes_away_and_comes_back(away, urls, processes, target, send, stalls):
    """Messages of the others are delivered at once all the while, its own when it is back, and SIGTERM ends it all."""
    port = free_port()
    stores = [part for url in urls.values() for part in ("--store", url)]
    process = processes.twistd_ap4r(*stores, "--app-url", target.door(), "--listen", f"tcp:{port}:interface={HOST}")
    process.wait_for_output("/healthz")
    wait_until(lambda: process.output.count("works on") == 3, "all are worked on", otherwise=lambda: process.tail)
    sent = set().union(*(send(url) for url in urls.values()))
    target.wait_for(15)
    assert health(port)[0] == 200

    server = shared_server(away)
    server.stop(signal.SIGKILL)
    try:
        others = {kind: url for kind, url in urls.items() if kind != away}
        took = []
        for _ in range(5):
            began = time.monotonic()
            some = set().union(*(send(url) for url in others.values()))
            wait_until(lambda some=some: some <= set(target.ids()), "the others' are delivered", timeout_seconds=30)
            ended = time.monotonic()
            took.append(ended - began - stalls.within(began, ended))
            sent |= some
        # Far sooner than the next poll, so no store waits for the unreachable one.
        assert median(took) < 2.0, took
        wait_until(lambda: health(port)[1][away]["problem"], "the page says which one is away", timeout_seconds=30)
        status, told = health(port)
        assert status == 503
        assert {kind: store["ok"] for kind, store in told.items()} == {kind: kind != away for kind in urls}
        ended = processes.ap4r("status", AP4R_STORES=" ".join(urls.values()))
        assert ended.returncode == 2
        assert ended.stdout.count("store ") >= 2 and "s3cret" not in ended.stdout + ended.stderr
    finally:
        server.start()
    wait_until(lambda: health(port)[0] == 200, "it is well again", timeout_seconds=40)
    sent |= send(urls[away])
    wait_until(lambda: sent <= set(target.ids()), "all are delivered", timeout_seconds=40)
    process.send(signal.SIGTERM)
    assert process.wait(30) == 0
    assert process.output.count("stopped work on") == 3
    assert "a defect" not in process.output


@pytest.mark.timeout(120)
def test_one_that_is_away_at_the_start(urls, processes, target, send):
    """The dispatcher begins with the others, and takes it up when it is there."""
    server = shared_server("mariadb")
    server.stop()
    try:
        stores = [part for url in urls.values() for part in ("--store", url)]
        process = processes.twistd_ap4r(*stores, "--app-url", target.door(), "--listen", "none")
        wait_until(
            lambda: process.output.count("works on") == 2,
            "two are worked on",
            timeout_seconds=30,
            otherwise=lambda: process.tail,
        )
        send(urls["sqlite"])
        target.wait_for(5)
    finally:
        server.start()
    wait_until(lambda: process.output.count("works on") == 3, "all are worked on", timeout_seconds=30)
    send(urls["mariadb"])
    target.wait_for(10)


def test_the_same_one_in_another_spelling_is_drained_once(processes, tmp_path, target, send):
    """A file through a link and a path with dots, and a server with its port left out or its host in capitals."""
    url = f"sqlite:///{tmp_path}/ap4r.db"
    send(url)
    (tmp_path / "link.db").symlink_to(tmp_path / "ap4r.db")
    process = processes.twistd_ap4r(
        "--store", url, "--store", "sqlite:///link.db", "--store", "sqlite:///./../" + tmp_path.name + "/ap4r.db",
        "--app-url", target.door(), "--listen", "none",
    )  # fmt: skip
    target.wait_for(5)
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.output.count("works on") == 1


def test_the_commands_tell_of_all(urls, processes, tmp_path, send):
    """`ap4r status` and `doctor` without --store tell of every store in ap4r.toml, others of the first."""
    listed = ", ".join(f'"{url}"' for url in urls.values())
    (tmp_path / "ap4r.toml").write_text(f"stores = [{listed}]\n")
    for url in urls.values():
        send(url, 1)
    for command in ("status", "doctor"):
        told = processes.ap4r(command, "--json")
        assert [one["store"].partition(":")[0] for one in json.loads(told.stdout)] == [
            url.partition(":")[0] for url in urls.values()
        ]
        one = processes.ap4r(command, "--json", "--store", urls["mariadb"])
        assert json.loads(one.stdout)["store"].startswith("mysql")
    told = processes.ap4r("status")
    assert told.stdout.count("no dispatcher; start one") == 3
    assert "sqlite" in processes.ap4r("dead").stderr
