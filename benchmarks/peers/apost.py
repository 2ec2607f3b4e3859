"""The webhook as an asyncio task makes it: aiohttp, with one session a process, so that connections are kept."""

from __future__ import annotations

import aiohttp


def open_session() -> aiohttp.ClientSession:
    """Open what every call of a process shares."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=150))


async def post(session: aiohttp.ClientSession, url: str, number: int) -> None:
    """Deliver one; raises when the answer is no success."""
    async with session.post(url, data={"id": f"{number:012d}"}) as answer:
        await answer.read()
        answer.raise_for_status()
