"""How the consumers of Huey are run, whatever it keeps its tasks in."""

from __future__ import annotations

from benchmarks.peers.place import IN_FLIGHT

#: 1,000 were tried, too: they delivered 32 a second where these delivered 476 (on a busy machine).
_GREENLETS = min(IN_FLIGHT // 2, 100)

if IN_FLIGHT:
    from gevent import monkey

    monkey.patch_all()

PROCESSES = "Two worker processes" if not IN_FLIGHT else f"Two consumers of {_GREENLETS} greenlets (for I/O)"
SETUP = f"""{PROCESSES}, no periodic tasks, no results; requests. One queue for all names: a consumer has one."""


def commands(huey: str) -> list[list[str]]:
    """Return the commands that work on that instance: processes, or greenlets, as its guide advises for I/O."""
    usual = ["huey_consumer", huey, "--no-periodic", "--quiet"]
    if IN_FLIGHT:
        return [[*usual, f"--workers={_GREENLETS}", "--worker-type=greenlet"]] * 2
    return [[*usual, "--workers=2", "--worker-type=process"]]
