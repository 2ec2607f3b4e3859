"""taskiq with a Redis stream, the broker of its that acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated

import aiohttp
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from benchmarks.peers.apost import open_session, post
from benchmarks.peers.place import IN_FLIGHT, STORE, Call

_AT_ONCE = IN_FLIGHT // 2 or 100

NAME = "taskiq, Redis stream"
STORE_KIND = "redis"
SETUP = f"""The stream is read from its beginning, so that what waits before the first worker is not passed over.
Acknowledged when done, {_AT_ONCE} tasks at once in each of two processes, no results; aiohttp. A stream for all queues:
a worker reads the streams it names. Bursts are put with asyncio.gather."""
WORKERS = [["taskiq", "worker", "--workers=2", f"--max-async-tasks={_AT_ONCE}", "--log-level=WARNING",
            "benchmarks.peers.taskiq:broker"]]  # fmt: skip

broker = RedisStreamBroker(STORE, consumer_id="0")


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_connections(state: TaskiqState) -> None:
    """Open the session that all calls of a worker share."""
    state.session = open_session()


def the_session(context: Annotated[Context, TaskiqDepends()]) -> aiohttp.ClientSession:
    """Pass its worker's session to a task."""
    return context.state.session


@broker.task
async def deliver(
    url: str,
    number: int,
    body: str = "",
    queue: str = "",
    *,
    session: Annotated[aiohttp.ClientSession, TaskiqDepends(the_session)],
) -> None:
    """Deliver one."""
    await post(session, url, number, body, queue)


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""

    async def put() -> None:
        await broker.startup()
        for call in calls:
            await deliver.kiq(*call)
        await broker.shutdown()

    asyncio.run(put())


def enqueue_bursts(bursts: Iterable[list[Call]]) -> None:
    """Put all of a burst at once."""

    async def put() -> None:
        await broker.startup()
        for calls in bursts:
            await asyncio.gather(*(deliver.kiq(*call) for call in calls))
        await broker.shutdown()

    asyncio.run(put())
