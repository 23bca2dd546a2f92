"""What is asked for, as a value: sources of paths, their shares, and the form of a request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bench.bodies import Family

_LUA = Path(__file__).with_name("requests.lua")
_SCHEDULE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """Paths `first` to `first + count - 1` of a family, from `start` on."""

    family: Family
    count: int
    first: int = 0
    order: Literal["cycle", "zipf"] = "cycle"
    share: float = 1.0
    start: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A kind of load."""

    sources: tuple[Source, ...]
    method: str = "GET"
    fields: tuple[str, ...] = ()
    """Beside the nine that each request has."""
    body: str = ""
    is_unique: bool = True
    """Four of the nine fields differ with each request."""
    connections: int = 64

    def continued(self, requests: int) -> Plan:
        """The same, from where so many requests have led: paths asked once stay asked once."""
        sources = tuple(replace(source, start=source.start + requests) for source in self.sources)
        return replace(self, sources=sources)


def render_script(plan: Plan, *, serial: int) -> str:
    """wrk's script for this plan; two runs with the same `serial` send the same requests."""
    fields = [*plan.fields, *([f"Content-Length: {len(plan.body)}"] if plan.body else [])]
    more = "".join(f"{field}\\r\\n" for field in fields).replace('"', '\\"')
    sources = ", ".join(map(_source, plan.sources))
    return f"""local plan = {{
  method = "{plan.method}", more_fields = "{more}", body = "{plan.body}",
  is_unique = {str(plan.is_unique).lower()}, serial = {serial},
  sources = {{ {sources} }},
  schedule = {{ {", ".join(map(str, schedule([source.share for source in plan.sources])))} }},
}}
{_LUA.read_text(encoding="utf-8")}"""


def schedule(shares: Sequence[float]) -> list[int]:
    """Which source is asked in which turn, counted from 1: exact shares in an order that looks random."""
    if len(shares) == 1:
        return [1]
    turns = [number for number, share in enumerate(shares, 1) for _ in range(round(share * _SCHEDULE_LENGTH))]
    random.Random(9111).shuffle(turns)
    return turns


def _source(source: Source) -> str:
    return (
        f'{{ name = "{source.family.name}", first = {source.first}, count = {source.count}, '
        f'start = {source.start}, order = "{source.order}" }}'
    )
