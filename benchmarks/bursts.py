"""How soon an idle dispatcher delivers a burst of messages.

    python -m benchmarks.bursts [--scale N] [--rounds N]

A thousand messages at once, in one commit, each second or as soon as the last burst is delivered. The clock starts when
the commit is done.
"""

from __future__ import annotations

import statistics
import sys
import time

import ap4r
from benchmarks.draining import Count, dispatchers, new_file
from benchmarks.figure import Figure, Options, run
from benchmarks.sink import nginx_sink

_BURST = 1_000
_PAUSE_SECONDS = 1.0


def measure(options: Options) -> list[Figure]:
    """Put burst after burst."""
    size, took = options.count(_BURST), []
    with nginx_sink() as sink, new_file() as url:
        served = Count(sink)
        with dispatchers(url):
            for number in range(options.count(10, 2) + 1):
                with ap4r.session(url) as handle:
                    for _ in range(size):
                        handle.async_to(f"{sink.url}/hook", {"id": "000000000012"})
                    handle.commit()
                    began_at = time.monotonic()
                    _, ended_at = served.wait((number + 1) * size, 0.005)
                took.append(ended_at - began_at)
                time.sleep(_PAUSE_SECONDS * min(1.0, options.scale))
    seconds = took[1:]  # the first opened the connections
    return [
        Figure(f"bursts of {size:,}, deliveries", size / statistics.median(seconds), "/s"),
        Figure(f"bursts of {size:,}, until the last, worst", max(seconds) * 1000, "ms"),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"bursts": measure}))
