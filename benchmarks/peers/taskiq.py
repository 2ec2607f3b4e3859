"""taskiq with a Redis stream, the broker of its that acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated

import aiohttp
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from benchmarks.peers.apost import open_session, post
from benchmarks.peers.place import STORE

NAME = "taskiq, Redis stream"
STORE_KIND = "redis"
SETUP = """The stream is read from its beginning, so that what waits before the first worker is not passed over.
Acknowledged when done, 100 tasks at once in each of two processes, no results; aiohttp."""
WORKERS = [["taskiq", "worker", "--workers=2", "--max-async-tasks=100", "--log-level=WARNING",
            "benchmarks.peers.taskiq:broker"]]  # fmt: skip

broker = RedisStreamBroker(STORE, consumer_id="0")


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_connections(state: TaskiqState) -> None:
    """Open the session that all calls of a worker share."""
    state.session = open_session()


def the_session(context: Annotated[Context, TaskiqDepends()]) -> aiohttp.ClientSession:
    """Give a task its worker's session."""
    return context.state.session


@broker.task
async def deliver(url: str, number: int, session: Annotated[aiohttp.ClientSession, TaskiqDepends(the_session)]) -> None:
    """Deliver one."""
    await post(session, url, number)


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""

    async def put() -> None:
        await broker.startup()
        for url, number in calls:
            await deliver.kiq(url, number)
        await broker.shutdown()

    asyncio.run(put())
