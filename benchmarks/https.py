"""Deliveries a second over https, beside the same over http.

    python -m benchmarks.https [--scale N] [--rounds N]

The same nginx, with a certificate (P-256) whose authority the dispatcher trusts; certificates are checked as always.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.draining import Drained, Work, drain, middle, new_file
from benchmarks.figure import Figure, Options, run
from benchmarks.sink import nginx_sink
from tests.support.certificates import issue


def measure(options: Options) -> list[Figure]:
    """Empty a store over each in turn."""
    rounds: dict[str, list[Drained]] = {"http": [], "https": []}
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        issued = issue(Path(folder), "127.0.0.1")
        with nginx_sink(issued.certificate, issued.key) as sink:
            for _ in range(options.rounds):
                for scheme, url in (("http", sink.url), ("https", sink.secure_url)):
                    with new_file() as store:
                        work = Work(f"{url}/hook", options.count(10_000))
                        environ = {"SSL_CERT_FILE": str(issued.authority)}
                        rounds[scheme].append(drain(store, sink, work, environ=environ))
    http, https = (middle(found) for found in rounds.values())
    beside = f"http {http.per_second:,.0f}"
    return [
        Figure("https, deliveries", https.per_second, "/s", beside=beside),
        Figure("https, CPU of 1,000", https.cpu_per_1000, "s", beside=f"http {http.cpu_per_1000:.2f}"),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"https": measure}))
