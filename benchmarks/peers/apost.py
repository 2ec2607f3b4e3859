"""The webhook as an asyncio task makes it: aiohttp, with one session a process, so that connections are kept."""

from __future__ import annotations

import aiohttp

from benchmarks.peers.place import IN_FLIGHT


def open_session() -> aiohttp.ClientSession:
    """Open what every call of a process shares; its usual limit of 100 connections would keep more calls waiting."""
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT or 100)
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=150), connector=connector)


async def post(session: aiohttp.ClientSession, url: str, number: int, body: str = "", queue: str = "") -> None:
    """Deliver one; raises when the answer is no success.

    :param body: instead of the form with the number.
    :param queue: only has to come along.
    """
    data = body.encode() if body else {"id": f"{number:012d}"}
    async with session.post(url, data=data, headers={"Content-Type": "text/plain"} if body else None) as answer:
        await answer.read()
        answer.raise_for_status()
