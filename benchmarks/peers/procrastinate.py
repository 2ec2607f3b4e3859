"""Procrastinate, which is PostgreSQL only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp
import procrastinate

from benchmarks.peers.apost import open_session, post
from benchmarks.peers.place import IN_FLIGHT, STORE, Call

_AT_ONCE = IN_FLIGHT // 2 or 30

NAME = "Procrastinate, PostgreSQL"
STORE_KIND = "postgresql"
SETUP = f"""{_AT_ONCE} jobs at once in each of two processes; jobs that are done are deleted, so that the table stays
small; woken by LISTEN; aiohttp. A queue for each name: a worker that names none reads all. Bursts are put with
batch_defer."""
_COMMAND = ["procrastinate", "--app=benchmarks.peers.procrastinate.app"]
PREPARE = [*_COMMAND, "schema", "--apply"]
WORKERS = [[*_COMMAND, "worker", f"--concurrency={_AT_ONCE}", "--delete-jobs=successful"]] * 2

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=STORE))
_sessions: list[aiohttp.ClientSession] = []


@app.task(name="deliver")
async def deliver(url: str, number: int, body: str = "") -> None:
    """Deliver one."""
    if not _sessions:
        _sessions.append(open_session())
    await post(_sessions[0], url, number, body)


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""

    async def put() -> None:
        async with app.open_async():
            for call in calls:
                task = deliver.configure(queue=call[3]) if len(call) == 4 else deliver
                await task.defer_async(**_arguments(call))

    asyncio.run(put())


def enqueue_bursts(bursts: Iterable[list[Call]]) -> None:
    """Put all of a burst in one statement."""

    async def put() -> None:
        async with app.open_async():
            for calls in bursts:
                await deliver.batch_defer_async(*map(_arguments, calls))

    asyncio.run(put())


def _arguments(call: Call) -> dict[str, Any]:
    return dict(zip(("url", "number", "body"), call, strict=False))
