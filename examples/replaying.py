"""The replay itself: keys in, requests over keep-alive connections, every body checked, outcomes counted.

A raw client on asyncio streams: one of a library would take longer than the sidecar that it asks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fast_origin import body_of

ANSWER_SECONDS = 30.0

Outcomes = Counter[str]


class BrokenOff(Exception):
    """A connection ended, or fell silent, before its answer was complete."""


@dataclass
class Tally:
    """What came back so far."""

    tiers: Outcomes = field(default_factory=Counter)
    wrong: int = 0
    first_wrong: str = ""

    @property
    def requests(self) -> int:
        return self.tiers.total()

    def add(self, key: int, answer: Answer) -> None:
        """Count one answer, and check it."""
        self.tiers[answer.tier] += 1
        if answer.status != 200 or answer.body != body_of(key):
            self.wrong += 1
            self.first_wrong = self.first_wrong or f"key {key}: {answer.status} {answer.body[:80]!r}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, read to its end."""

    status: int
    cache_status: str
    body: bytes

    @property
    def tier(self) -> str:
        """Who answered: `l1`, `l2`, `shared` (another request's fetch) or `origin`."""
        words = [word.strip() for word in self.cache_status.split(";")]
        if "hit" in words:
            return next((word.removeprefix("detail=") for word in words if word.startswith("detail=")), "l1")
        return "shared" if "collapsed" in words else "origin"


async def replay(
    url: str, keys: Sequence[int], *, connections: int, progress: Callable[[int], None]
) -> Tally:
    """Ask for every key in order, on so many connections at once. Raises BrokenOff and OSError."""
    tally, remaining = Tally(), iter(keys)
    asking = (_ask_on_one_connection(url, remaining, tally, progress) for _ in range(connections))
    await asyncio.gather(*asking)
    return tally


async def _ask_on_one_connection(
    url: str, keys: Iterator[int], tally: Tally, progress: Callable[[int], None]
) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        for key in keys:
            writer.write(b"GET /products/%d HTTP/1.1\r\nHost: %b\r\n\r\n" % (key, parts.netloc.encode()))
            async with asyncio.timeout(ANSWER_SECONDS):
                tally.add(key, await read_answer(reader))
            progress(1)
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
        raise BrokenOff(f"after {tally.requests} answers: {error!r}") from error
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next response with a Content-Length. Raises asyncio.IncompleteReadError and BrokenOff."""
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *lines = head[:-4].split(b"\r\n")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    length = fields.get(b"content-length")
    if length is None:
        raise BrokenOff(f"an answer without Content-Length: {head!r}")
    body = await reader.readexactly(int(length))
    return Answer(int(status_line.split()[1]), fields.get(b"cache-status", b"").decode("latin-1"), body)
