"""The program of all attackers, apart from what it attacks: `python -m benchmarks.attacks.attackers FOLDER SETTINGS`.

It attacks while the file `attack` is in the folder, with the kinds that are named in it (each line is a part of a name;
all kinds if it is empty), and writes what it has done to `attacks.json` all the time, until SIGTERM.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.attacks.attacked_dispatcher import DOMAIN
from benchmarks.attacks.callers import FLOOD, Attack, HostileCallers, Victims
from benchmarks.attacks.counts import Counts
from benchmarks.attacks.targets import ANSWERS, DESCRIPTIONS, EXPENSIVE, HostileServers

#: Messages to each kind of hostile server, and to hanging names; how long they live, and a call of one may take.
_MESSAGE_EVERY_SECONDS = 3.0
_LIVES_SECONDS = 10
_DESCRIPTION_EVERY_SECONDS = 60.0
_FIRST_SECONDS = 5.0  #: by then one attack of each kind has begun


async def run(folder: Path, victims: Victims, connections: int) -> None:
    """Attack on request, until SIGTERM."""
    counts = Counts()
    servers, callers = HostileServers(counts), HostileCallers(victims, counts)
    await servers.start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    attacking: list[asyncio.Task[None]] = []
    while not over.is_set():
        wanted = _wanted(folder)
        if wanted is not None and not attacking:
            attacks = [*callers.attacks(), *_messages(callers, servers)]
            chosen = [attack for attack in attacks if any(part in attack.kind for part in wanted)]
            attacking = [asyncio.create_task(_keep_on(attack, counts)) for attack in chosen]
            if any(part in FLOOD for part in wanted):
                attacking.append(asyncio.create_task(callers.flood(connections)))
        elif attacking and wanted is None:
            await _end(attacking)
            callers.end_slow()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await over.wait()
        _write(folder, counts)
    await _end(attacking)
    _write(folder, counts)


def kinds() -> list[str]:
    """Return the names of all kinds of attack."""
    counts = Counts()
    callers = HostileCallers(Victims(0, 0, ""), counts)
    return [*(attack.kind for attack in [*callers.attacks(), *_messages(callers, HostileServers(counts))]), FLOOD]


def _wanted(folder: Path) -> list[str] | None:
    """Return parts of the names of the kinds that are to attack now; None when none is to."""
    try:
        return (folder / "attack").read_text().splitlines() or [""]
    except FileNotFoundError:
        return None


def _messages(callers: HostileCallers, servers: HostileServers) -> list[Attack]:
    numbers = itertools.count()
    targets = {kind: f"http://127.0.0.1:{port}/x" for kind, port in servers.ports.items() if kind != DESCRIPTIONS}

    def to(kind: str) -> Callable[[], Awaitable[str]]:
        async def put() -> str:
            number = next(numbers)
            target = targets.get(kind, f"http://s{number}{DOMAIN}/x")
            lives = {"expires_seconds": _LIVES_SECONDS, "timeout_seconds": _LIVES_SECONDS, "max_deliveries": 2}
            delivery = ("repeated", "once", "best_effort")[number % 3]
            return await callers.put({"target": target, "queue": kind.replace(" ", "-"), "delivery": delivery, **lives})

        return put

    async def after_expensive_description() -> str:
        number = next(numbers)
        base = f"http://127.0.0.1:{servers.ports[DESCRIPTIONS]}"
        wsdl = f"{base}/{[*EXPENSIVE][number % len(EXPENSIVE)]}?{number}"
        soap = {"protocol": "soap", "action": "Go", "params": {"id": 1}, "options": {"wsdl": wsdl}}
        lives = {"expires_seconds": _LIVES_SECONDS, "max_deliveries": 1}
        return await callers.put({"target": f"{base}/service", "queue": "expensive-wsdl", **soap, **lives})

    return [
        *(Attack(f"message to: {kind}", _MESSAGE_EVERY_SECONDS, to(kind)) for kind in [*ANSWERS, "hanging name"]),
        Attack("message after an expensive WSDL", _DESCRIPTION_EVERY_SECONDS, after_expensive_description),
    ]


async def _keep_on(attack: Attack, counts: Counts) -> None:
    clock = asyncio.get_running_loop().time
    # Not all kinds begin in the same moment.
    next_at = clock() + min(attack.every_seconds, _FIRST_SECONDS) * (zlib.crc32(attack.kind.encode()) % 100) / 100
    while True:
        await asyncio.sleep(max(0.0, next_at - clock()))
        next_at = max(next_at + attack.every_seconds, clock())
        try:
            outcome = await attack.make()
        except TimeoutError:
            outcome = "no answer"
        except OSError as error:
            outcome = type(error).__name__
        counts.add(f"caller: {attack.kind}", outcome)


async def _end(attacking: list[asyncio.Task[None]]) -> None:
    """End attacks; one that loses a cancellation, as some calls of Python 3.11 do, is cancelled again."""
    left = set(attacking)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1.0)
    attacking.clear()


def _write(folder: Path, counts: Counts) -> None:
    beside = folder / "attacks.new"
    beside.write_text(json.dumps(counts.as_json()))
    os.replace(beside, folder / "attacks.json")


def main() -> None:
    """Run the attackers until SIGTERM."""
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    os.nice(settings["nice"])
    os.sched_setaffinity(0, settings["cores"])
    asyncio.run(run(folder, Victims(**settings["victims"]), settings["connections"]))


if __name__ == "__main__":
    main()
