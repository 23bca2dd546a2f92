"""Many clients that ask for the same thing at the same moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.bodies import Family

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Burst:
    """When the answers were there, and how many were not the right one."""

    first_ms: float
    last_ms: float
    wrong: int


def burst(family: Family, number: int, *, port: int, clients: int) -> Burst:
    """Connect all clients, let all ask at once, read all answers."""
    return asyncio.run(_burst(family.path(number), family, port, clients))


async def _burst(path: str, family: Family, port: int, clients: int) -> Burst:
    async with asyncio.timeout(_SECONDS):
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
        request = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n".encode()
        began_at = time.perf_counter()
        for _, writer in connections:
            writer.write(request)
        answers = await asyncio.gather(*(_answer(reader) for reader, _ in connections))
        for _, writer in connections:
            writer.close()
    return summary(answers, family.body(path), began_at)


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    return await reader.read(), time.perf_counter()


def summary(answers: Sequence[tuple[bytes, float]], body: bytes, began_at: float) -> Burst:
    """What the answers, with the moment of each one's end, amount to."""
    ends = [ended_at - began_at for _, ended_at in answers]
    wrong = sum(not _is_right(answer, body) for answer, _ in answers)
    return Burst(min(ends) * 1000, max(ends) * 1000, wrong)


def _is_right(answer: bytes, body: bytes) -> bool:
    head, _, rest = answer.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 ") and rest == body
