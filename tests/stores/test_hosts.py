"""Writers, dispatcher and database on hosts of their own: the doorbell is heard without a setting."""

from __future__ import annotations

import re
import sys
import time

import pytest

from tests.support.hosts import DistantMariaDB, Hosts
from tests.support.lines import whole_lines
from tests.support.probe import wait_until
from tests.support.processes import Processes, program

TARGET = """
import http.server, sys, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[1], "a") as calls:
            calls.write(f"{self.path} {time.time()}\\n")
        self.send_response(204)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Answer).serve_forever()
"""
WRITER = """
import sys, time, ap4r
for number in range(6):
    with ap4r.session(sys.argv[1]) as handle:
        handle.async_to(f"/{number}")
    stored_at = time.time()
    with open(sys.argv[2], "a") as stored:
        stored.write(f"/{number} {stored_at}\\n")
    # The first look at the doorbells' addresses is taken beside the first put.
    time.sleep(1.3)
"""


@pytest.fixture
def hosts():
    """A database, a dispatcher and a web server, each on a host of its own."""
    with Hosts("db", "jobs", "web") as made:
        yield made


@pytest.fixture
def mariadb(hosts):
    """A server on the host `db`."""
    server = DistantMariaDB(hosts, "db")
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.mark.timeout(120)
def test_a_writer_on_another_host_rings_without_a_setting(hosts, mariadb, tmp_path, stalls):
    """By default writers on other hosts of the store are heard, and doctor says what is reached from where."""
    mariadb.execute("CREATE USER 'ap4r'@'%' IDENTIFIED BY 's3cret'")
    mariadb.execute("CREATE DATABASE shop")
    mariadb.execute("GRANT ALL ON *.* TO 'ap4r'@'%'")
    url = mariadb.url("shop")
    calls, stored = tmp_path / "calls", tmp_path / "stored"
    with Processes(tmp_path) as processes:
        processes.start("target", *hosts.on("jobs"), sys.executable, "-c", TARGET, str(calls))
        dispatcher = processes.start(
            "dispatcher", *hosts.on("jobs"), program("twistd"), "-n", "ap4r", "--store", url, "--listen", "none"
        )
        dispatcher.wait_for_output("started")
        assert f"doorbell udp://{hosts.addresses['jobs']}:" in dispatcher.output
        writer = processes.start("writer", *hosts.on("web"), sys.executable, "-c", WRITER, url, str(stored))
        assert writer.wait(60) == 0, writer.tail
        wait_until(lambda: calls.exists() and len(whole_lines(calls)) == 6, "all are delivered", timeout_seconds=20)
        doctor = processes.run(*hosts.on("web"), sys.executable, "-m", "ap4r.cli.__main__", "doctor", "--store", url)
    called_at = dict(line.decode().split() for line in whole_lines(calls))
    waits = []
    for path, stored_at in (line.decode().split() for line in whole_lines(stored)):
        late = float(called_at[path]) - float(stored_at)
        waits.append(late - stalls.within(time.monotonic() - time.time() + float(stored_at), time.monotonic()))
    # Without a bell each would wait for the next look, up to 5 s and 2.5 s in the middle.
    assert sorted(waits)[len(waits) // 2] < 1.0, waits
    assert re.search(rf"the doorbell udp://{hosts.addresses['jobs']}:\d+ can be reached from this host", doctor.stdout)
