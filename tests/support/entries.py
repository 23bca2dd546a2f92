"""Keys and entries with sane defaults, for every test that stores something."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from proxy.model import LifetimeSource, Position, StoredResponse, VaryRecord

NOW = 1_800_000_000.0
"""Epoch seconds at which the entries here are received."""

BORN = Position(number=3, ms=1_799_999_999_000, seq=2, nonce=0xFEDC_BA98_7654_3210)


def key_of(name: str) -> bytes:
    """A digest as the product's keys are: 16 bytes."""
    return blake2b(name.encode(), digest_size=16).digest()


def response(body: bytes = b"body", *, ttl: float = 60.0, now: float = NOW, **changes: Any) -> StoredResponse:
    """A 200 received at `now` that nobody needs to keep longer than `ttl` seconds."""
    values: dict[str, Any] = {
        "status": 200,
        "reason": b"OK",
        "lines": b"Date: Fri, 15 Jan 2027 08:00:00 GMT\r\nContent-Type: text/plain\r\n",
        "body": body,
        "route": "product",
        "host": b"shop.test",
        "target": b"/products/1",
        "born": BORN,
        "received_at": now,
        "initial_age": 0.0,
        "lifetime": ttl,
        "expires_at": now + ttl,
    }
    return StoredResponse.of(**(values | changes))


def absence(*, ttl: float = 60.0, now: float = NOW, **changes: Any) -> StoredResponse:
    """A remembered 404: a negative entry."""
    negative = {"status": 404, "reason": b"Not Found", "source": LifetimeSource.NEGATIVE}
    return response(b"no such product", ttl=ttl, now=now, **(negative | changes))


def vary_record(*variants: bytes, ttl: float = 60.0, now: float = NOW) -> VaryRecord:
    """What stands under the primary key of responses that vary by Accept-Language."""
    return VaryRecord((b"accept-language",), variants, now + ttl)
