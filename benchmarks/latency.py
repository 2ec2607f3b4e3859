"""The time from the commit to the arrival of a message's request, with an otherwise idle dispatcher.

    python -m benchmarks.latency [--stores sqlite,mariadb,postgresql] [--bells udp,unix] [--messages N] [--rate N]

Messages are put one at a time, --rate a second, by a process of its own; the target is a socket in that process, so one
clock serves both ends. `commit` is what the put itself took, `latency` is from the end of the put to the request's
first byte. The median is what is promised (5 ms on an idle machine); the 95th percentile shows what else there is.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ap4r
from benchmarks.backlog import open_database

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_WARM_UP = 10


def main() -> int:
    """Run the benchmark; exit 1 when a median is over --most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", default="sqlite,mariadb,postgresql", help="which databases (%(default)s)")
    parser.add_argument("--bells", default="udp,unix", help="which kinds of doorbell (%(default)s)")
    parser.add_argument("--messages", type=int, default=200, help="of each (%(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second (%(default)s)")
    parser.add_argument("--most", type=float, default=0.0, help="fail when a median is over this many ms")
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{'ms':14}{'bell':>6}{'commit':>9}{'latency':>9}{'95 %':>9}{'load':>9}", flush=True)
    for kind in arguments.stores.split(","):
        with open_database(kind) as database:
            for bell in arguments.bells.split(","):
                with tempfile.TemporaryDirectory(prefix="ap4r-latency-") as folder:
                    url = database.url(f"latency_{bell}")
                    commits, latencies = measure(url, bell, Path(folder), arguments.messages, 1.0 / arguments.rate)
                middle = statistics.median(latencies) * 1000
                last = statistics.quantiles(latencies, n=20)[-1] * 1000
                worst = max(worst, middle)
                commit = statistics.median(commits) * 1000
                load = os.getloadavg()[0]
                print(f"{kind:14}{bell:>6}{commit:>9.2f}{middle:>9.2f}{last:>9.2f}{load:>9.2f}", flush=True)
    if arguments.most and worst > arguments.most:
        print(f"a median is {worst:.2f} ms, more than {arguments.most}", file=sys.stderr)
        return 1
    return 0


def measure(url: str, bell: str, folder: Path, count: int, pause_seconds: float) -> tuple[list[float], list[float]]:
    """Put messages one after another; return the seconds of each commit and from there to the request."""
    target = Target()
    with dispatcher(url, bell, folder, target.url):
        commits, latencies = [], []
        for number in range(count + _WARM_UP):
            began = time.perf_counter()
            with ap4r.session(url) as handle:
                handle.async_to("/x", {"number": str(number)})
                handle.commit()
                stored_at = time.perf_counter()
            received_at = target.wait()
            if number >= _WARM_UP:
                commits.append(stored_at - began)
                latencies.append(received_at - stored_at)
            time.sleep(max(0.0, began + pause_seconds - time.perf_counter()))
    return commits, latencies


class Target:
    """A server that notes when a request arrives and answers at once."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._arrived = threading.Semaphore(0)
        self._at = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def wait(self) -> float:
        """Wait for a request; return when it came."""
        if not self._arrived.acquire(timeout=20):
            raise SystemExit("a message was not delivered within 20 s")
        return self._at

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := connection.recv(65_536):
                at = time.perf_counter()
                while b"\r\n\r\n" not in data or b"number=" not in data:
                    data += connection.recv(65_536)
                connection.sendall(_ANSWER)
                self._at = at
                self._arrived.release()


@contextmanager
def dispatcher(url: str, bell: str, folder: Path, app_url: str) -> Iterator[None]:
    """Run a dispatcher of a store until the block ends."""
    where = {"udp": "udp:0:interface=127.0.0.1", "unix": f"unix:{folder}/bell"}.get(bell, bell)
    log = folder / "log"
    code = "import sys; from twisted.scripts.twistd import run; import twisted.plugins as plugins; import ap4r, os; "
    code += "plugins.__path__.append(os.path.join(os.path.dirname(ap4r.__file__), 'twisted_plugins')); run()"
    command = [sys.executable, "-c", code, "-n", "ap4r", "--store", url, "--bell", where, "--listen", "none"]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--app-url", app_url], cwd=folder, stdout=out, stderr=out)
    try:
        give_up_at = time.monotonic() + 30
        while b"doorbell" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise SystemExit(f"the dispatcher did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(40)


if __name__ == "__main__":
    sys.exit(main())
