"""Run a program of this Python, the dispatcher, and measure its reactor's turns; some names' look-ups hang.

`python -m benchmarks.attacks.attacked_dispatcher TURNS CORES PROGRAM ARGUMENT…`. The look-up of every name below
`slow.test` waits as long as the system's resolver does if no name server answers, in the thread that asked, and finds
nothing; no packet is sent. The turns are written to the file TURNS. The processes that it starts to read what is large
or strange may run on all CORES (numbers with commas between), as they do if the dispatcher is not held to one.
"""

from __future__ import annotations

import os
import runpy
import socket
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from benchmarks.attacks.reactor_turns import measure_turns

DOMAIN = ".slow.test"
HANGS_SECONDS = 10.0


def main() -> None:
    """Replace the look-up, measure the reactor, and run the program."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *others: Any, **named: Any) -> Any:
        if str(host).endswith(DOMAIN):
            time.sleep(HANGS_SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *others, **named)

    socket.getaddrinfo = getaddrinfo
    measure_turns(reactor, Path(sys.argv[1]))
    _let_children_run_on(reactor, {int(core) for core in sys.argv[2].split(",")})
    sys.argv = sys.argv[3:]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _let_children_run_on(reactor: Any, cores: set[int]) -> None:
    spawn = reactor.spawnProcess

    def spawnProcess(*arguments: Any, **named: Any) -> Any:
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            return spawn(*arguments, **named)
        finally:
            os.sched_setaffinity(0, own)

    reactor.spawnProcess = spawnProcess


if __name__ == "__main__":
    main()
