"""`twistd ap4r` as a person runs it: the application served along, the health page, the log, what cannot start."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request

import ap4r
from tests.support import storefile
from tests.support.probe import wait_until
from tests.support.processes import HOST, free_port, program

SHOP = """
import gc
import os
import ap4r

print("store is", os.environ["AP4R_STORE"])
handled = []

def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["PATH_INFO"] == "/order":
        with ap4r.session() as handle:
            handle.async_to("/mail", {"order": "7"})
    if environ["PATH_INFO"] == "/mail":
        handled.append(body)
        print("mailed", body.decode())
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/collected":
        return [b"%d %d" % (gc.get_freeze_count(), len(gc.get_objects()))]
    return [b"done"]
"""


def get(url):
    """Ask for a page; return status and body."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_one_command_runs_everything(processes):
    """`--app` serves the application, which puts into the same store, and is called by the same process."""
    (processes.folder / "shop.py").write_text(SHOP)
    port, health = free_port(), free_port()
    process = processes.twistd_ap4r(
        "--app", "shop:application", "--app-listen", f"tcp:{port}:interface={HOST}",
        "--listen", f"tcp:{health}:interface={HOST}",
    )  # fmt: skip
    processes.wait_until_listening(process, port)
    process.wait_for_output(f"shop:application at http://{HOST}:{port}")
    assert f"store is sqlite:///{processes.folder}/ap4r.db" in process.output
    assert get(f"http://{HOST}:{port}/order") == (200, b"done")
    process.wait_for_output("mailed order=7")
    status, body = get(f"http://{HOST}:{health}/healthz")
    facts = json.loads(body)
    assert (status, facts["ok"], facts["stores"][0]["store"]) == (200, True, f"sqlite:///{processes.folder}/ap4r.db")
    assert get(f"http://{HOST}:{health}/other")[0] == 404
    process.send(signal.SIGINT)
    assert process.wait() == 0
    assert not (processes.folder / "twistd.pid").exists()


def test_the_collector_leaves_alone_what_stays(processes):
    """A full collection, in which nothing else goes on, does not go through all that a process has loaded."""
    (processes.folder / "shop.py").write_text(SHOP)
    port = free_port()
    process = processes.twistd_ap4r(
        "--app", "shop:application", "--app-listen", f"tcp:{port}:interface={HOST}", "--listen", "none"
    )
    processes.wait_until_listening(process, port)
    spared, collected = map(int, get(f"http://{HOST}:{port}/collected")[1].split())
    assert spared > 5 * collected


def test_the_log_can_be_read_by_machines(system):
    """One JSON object a line, from the first to the last."""
    process = system.dispatcher("--log-format", "json", "--log-level", "debug")
    system.send("/work?answer=200", "/work?answer=410")
    system.wait_until_empty()
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    records = [json.loads(line) for line in process.output.splitlines()]
    told = {record["event"] for record in records}
    assert {"started", "call", "dead", "stopping", "stopped", "summary"} <= told
    assert all(record["at"].endswith("Z") and record["level"] and record["text"] for record in records)


def test_at_the_usual_level_a_delivery_is_no_line(system):
    """A thousand deliveries are one summary."""
    process = system.dispatcher()
    system.send(*["/work?answer=200"] * 50)
    system.wait_until_empty()
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    assert len(process.output.splitlines()) <= 5
    assert "50 delivered" in process.output


def test_a_message_without_time_to_connect_delays_no_other(system):
    """It waits by itself: its target is not held, and the others are called at once."""
    process = system.dispatcher()
    with ap4r.session(system.url) as handle:
        handle.async_to("/hasty?answer=200", timeout_seconds=1e-6, max_deliveries=1)
    process.wait_for_output("retry")
    system.send(*["/work?answer=200"] * 20)
    wait_until(lambda: len(system.target.requests) >= 20, "the others are called", timeout_seconds=5)
    assert "is held" not in process.output
    assert "timeout" in process.output


def test_an_application_that_cannot_be_imported(processes):
    """One line on standard error that says why, and exit code 1."""
    (processes.folder / "broken.py").write_text("\nimport not_there\n")
    processes.twistd_ap4r(name="unused", folder=processes.folder).kill()
    ended = processes.run(program("twistd"), "-n", "ap4r", "--listen", "none", "--app", "broken:app",
                          "--app-listen", f"tcp:{free_port()}:interface={HOST}")  # fmt: skip
    assert ended.returncode == 1
    assert "No module named 'not_there'" in ended.stderr
    assert "broken.py, line 2" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_daemon_works_and_ends(system):
    """Without -n it goes into the background, logs to a file, and drains at SIGTERM."""
    system.processes.twistd_ap4r(name="unused").kill()
    started = system.processes.run(
        program("twistd"), "--pidfile=daemon.pid", "--logfile=daemon.log", "ap4r", "--store", system.url,
        "--app-url", system.door, "--listen", "none",
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    pidfile, log = system.processes.folder / "daemon.pid", system.processes.folder / "daemon.log"
    pid = int(wait_until(lambda: pidfile.exists() and pidfile.read_text(), "the daemon has its pid file"))
    try:
        wait_until(lambda: "works on" in log.read_text(), "the daemon works", otherwise=log.read_text)
        [sent] = system.send("/work?answer=200")
        system.target.wait_for(1)
        assert system.target.ids() == [sent]
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pidfile.exists(), "the daemon has ended")
    assert "stopped" in log.read_text()
    assert storefile.owners(system.store) == []


def test_a_daemon_that_cannot_start_says_so(system):
    """The error is on standard error, with exit code 1."""
    system.processes.twistd_ap4r(name="unused").kill()
    (system.processes.folder / "broken.py").write_text("raise RuntimeError('no')\n")
    started = system.processes.run(
        program("twistd"), "ap4r", "--store", system.url, "--listen", "none", "--app", "broken:app",
        "--app-listen", f"tcp:{free_port()}:interface={HOST}",
    )  # fmt: skip
    assert started.returncode == 1
    assert "broken cannot be imported" in started.stderr


def test_a_store_that_is_locked_is_waited_for(system):
    """The dispatcher starts, says what it waits for, and works when the lock is gone."""
    with ap4r.session(system.url) as handle:
        handle.async_to(f"{system.door}/work?answer=200", {})
    with storefile.locked(system.store):
        process = system.dispatcher(wait=False)
        process.wait_for_output("failed", timeout_seconds=30)
    system.target.wait_for(1)
    assert process.running


def test_settings_that_are_gone_change_nothing(system):
    """A SIGHUP while ap4r.toml is away keeps the old settings, rather than calling the server of the defaults."""
    config = system.processes.folder / "ap4r.toml"
    config.write_text(f'store = "{system.url}"\napp_urls = ["{system.door}"]\nlisten = "none"\n')
    dispatcher = system.processes.twistd_ap4r(name="configured")
    dispatcher.wait_for_output("works on")
    config.unlink()
    dispatcher.send(signal.SIGHUP)
    dispatcher.wait_for_output("is gone")
    [sent] = system.send("/work?answer=200")
    system.target.wait_for(1)
    assert system.target.ids() == [sent]
