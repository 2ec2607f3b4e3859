"""Three servers are restarted one by one under load, and no message notices."""

from __future__ import annotations

import signal
import threading

import ap4r
from tests.support import storefile
from tests.support.probe import hold_for, wait_until
from tests.support.processes import HOST, free_port

#: Answers /healthz by a file, so that a test can make it drain; everything else after a moment.
APPLICATION = """
import os, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/healthz":
        draining = os.path.exists(os.environ["DRAINING"])
        start_response("503 Draining" if draining else "204 No Content", [])
        return [b""]
    environ["wsgi.input"].read()
    time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_a_rolling_restart_costs_no_message_an_attempt(system, tmp_path):
    """Each server is drained by its check, ended and started again; every message is delivered by its first call."""
    (tmp_path / "served.py").write_text(APPLICATION)
    ports = [free_port() for _ in range(3)]
    drains = [tmp_path / f"draining-{port}" for port in ports]
    config = tmp_path / "ap4r.toml"
    servers = ", ".join(f'"http://{HOST}:{port}"' for port in ports)
    config.write_text(
        f'store = "{system.url}"\nlisten = "none"\nconcurrency = 8\n'
        f'[upstreams.web]\nservers = [{servers}]\ncheck = "/healthz"\ncheck_seconds = 0.2\n'
    )

    def serve(number):
        return system.processes.gunicorn(
            "served:application", ports[number], "--worker-class=gthread", "--threads=8", "--keep-alive=2",
            name=f"web-{number}", DRAINING=str(drains[number]),
        )  # fmt: skip

    serving = [serve(number) for number in range(3)]
    dispatcher = system.processes.twistd_ap4r("--config", str(config), "--log-level", "debug")
    wait_until(lambda: storefile.owners(system.store), "it has registered", timeout_seconds=20)
    ended, sent = threading.Event(), 0

    def load():
        nonlocal sent
        while not ended.wait(0.05):
            with ap4r.session(config=config) as handle:
                for _ in range(5):
                    handle.async_to("web:/work", {"number": sent})
            sent += 5

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for number, port in enumerate(ports):
            drains[number].touch()
            server = f"http://{HOST}:{port}"
            dispatcher.wait_for_output(f"server {server} of web is ejected")
            hold_for(0.5, lambda number=number: serving[number].running, "the calls in flight come to their end")
            serving[number].send(signal.SIGTERM)
            serving[number].wait(20)
            drains[number].unlink()
            serving[number] = serve(number)
            dispatcher.wait_for_output(f"server {server} of web passes its check again")
        wait_until(lambda: sent > 50, "enough was sent", timeout_seconds=30)
    finally:
        ended.set()
        loading.join()
    system.wait_until_empty()
    delivered, failed = dispatcher.output.count("delivered 200"), dispatcher.output.count("failed, ")
    assert (delivered, failed) == (sent, 0), dispatcher.tail
    assert system.dead() == {}
