"""arq, which is Redis only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers.apost import open_session, post
from benchmarks.peers.place import IN_FLIGHT, STORE, Call

_AT_ONCE = IN_FLIGHT // 2 or 100

NAME = "arq"
STORE_KIND = "redis"
SETUP = f"""{_AT_ONCE} jobs at once (its default is 10) in each of two processes, no results kept or logged; aiohttp.
One queue for all names: a worker has one. Bursts are put with asyncio.gather."""
WORKERS = [["arq", "benchmarks.peers.arq.WorkerSettings"]] * 2


async def deliver(ctx: dict[str, Any], url: str, number: int, body: str = "", queue: str = "") -> None:
    """Deliver one."""
    await post(ctx["session"], url, number, body, queue)


async def open_connections(ctx: dict[str, Any]) -> None:
    """Open the session that all calls of a worker share."""
    ctx["session"] = open_session()


async def close_connections(ctx: dict[str, Any]) -> None:
    """Close it."""
    await ctx["session"].close()


class WorkerSettings:
    """What `arq` reads."""

    functions = [deliver]
    on_startup = open_connections
    on_shutdown = close_connections
    redis_settings = RedisSettings.from_dsn(STORE)
    max_jobs = _AT_ONCE
    keep_result = 0
    log_results = False


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""

    async def put() -> None:
        pool = await create_pool(WorkerSettings.redis_settings)
        for call in calls:
            await pool.enqueue_job("deliver", *call)
        await pool.aclose()

    asyncio.run(put())


def enqueue_bursts(bursts: Iterable[list[Call]]) -> None:
    """Put all of a burst at once."""

    async def put() -> None:
        pool = await create_pool(WorkerSettings.redis_settings)
        for calls in bursts:
            await asyncio.gather(*(pool.enqueue_job("deliver", *call) for call in calls))
        await pool.aclose()

    asyncio.run(put())
