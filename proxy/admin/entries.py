"""GET /entries: what L1 holds, by prefix and tag, without a secret.

Keys are hashed already, with the identities, cookies and header values in them; fields and bodies stay out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from proxy.admin.masking import masked_target
from proxy.admin.protocols import Facts
from proxy.model import Held, StoredResponse

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 10_000

_SLICE = 1000


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries are asked for; empty texts match all."""

    prefix: bytes = b""
    """Of path and query as keyed, on any host."""
    tag: bytes = b""
    limit: int = DEFAULT_LIMIT

    def matches(self, response: StoredResponse) -> bool:
        """Whether the response is asked for."""
        has_tag = not self.tag or self.tag in response.tags
        return has_tag and response.target.startswith(self.prefix)


async def described(copies: Iterable[tuple[bytes, Held]], wanted: EntryFilter, *, now: float) -> list[Facts]:
    """The first entries that match, at most `wanted.limit`; `now` in epoch seconds.

    Yields to the loop between slices: L1 may hold 100,000 entries, and hits must not wait for this.
    """
    found: list[Facts] = []
    remaining = iter(copies)
    while len(found) < wanted.limit and (examined := list(islice(remaining, _SLICE))):
        found += _matching(examined, wanted, now)
        await asyncio.sleep(0)
    return found[: wanted.limit]


def _matching(copies: Iterable[tuple[bytes, Held]], wanted: EntryFilter, now: float) -> Iterator[Facts]:
    """Without the Vary records: they only lead to responses."""
    for key, held in copies:
        if isinstance(held.entry, StoredResponse) and wanted.matches(held.entry):
            yield _facts(key, held, held.entry, now)


def _facts(key: bytes, held: Held, response: StoredResponse, now: float) -> Facts:
    age = response.age(now)
    return {
        "key": key.hex(),
        "route": response.route,
        "host": response.host.decode("latin-1"),
        "target": masked_target(response.target.decode("latin-1")),
        "status": response.status,
        "bytes": held.size,
        "age": round(age, 3),
        "ttl": round(response.lifetime - age, 3),
        "used": round(max(0.0, now - held.used_at), 3),
        "tags": [tag.decode("latin-1") for tag in response.tags],
    }
