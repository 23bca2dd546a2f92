"""Waiting for what tells a function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def told(ask: Callable[[Callable[[bool], None]], None]) -> bool:
    """What the function that `ask` is given is told; InvalidStateError for whoever tells it twice."""
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    ask(answer.set_result)
    async with asyncio.timeout(30):
        return await answer
