"""Procrastinate, which is PostgreSQL only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp
import procrastinate

from benchmarks.peers.apost import open_session, post
from benchmarks.peers.place import STORE

NAME = "Procrastinate, PostgreSQL"
STORE_KIND = "postgresql"
SETUP = """30 jobs at once in each of two processes; jobs that are done are deleted, so that the table stays small;
woken by LISTEN; aiohttp."""
_COMMAND = ["procrastinate", "--app=benchmarks.peers.procrastinate.app"]
PREPARE = [*_COMMAND, "schema", "--apply"]
WORKERS = [[*_COMMAND, "worker", "--concurrency=30", "--delete-jobs=successful"]] * 2

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=STORE))
_sessions: list[aiohttp.ClientSession] = []


@app.task(name="deliver")
async def deliver(url: str, number: int) -> None:
    """Deliver one."""
    if not _sessions:
        _sessions.append(open_session())
    await post(_sessions[0], url, number)


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""

    async def put() -> None:
        async with app.open_async():
            for url, number in calls:
                await deliver.defer_async(url=url, number=number)

    asyncio.run(put())
