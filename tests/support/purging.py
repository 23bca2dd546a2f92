"""Selectors, records and a brute-force reading of them, for whatever tests invalidation."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from proxy.model import Position, StoredResponse, Validity
from proxy.policy.invalidation import Record, Selector, SelectorKind

NONCE = 0xABCD
GENESIS = Position(1, 1, 0, NONCE)


def url(value: str) -> Selector:
    return Selector(SelectorKind.URL, value)


def prefix(value: str) -> Selector:
    return Selector(SelectorKind.PREFIX, value)


def pattern(value: str) -> Selector:
    return Selector(SelectorKind.PATTERN, value)


def tag(value: str) -> Selector:
    return Selector(SelectorKind.TAG, value)


def route(value: str) -> Selector:
    return Selector(SelectorKind.ROUTE, value)


def position(ms: int, *, number: int = 1, nonce: int = NONCE) -> Position:
    return Position(number, ms, 0, nonce)


def record(at: Position, *selectors: Selector, soft: bool = False) -> Record:
    return Record(at, (at.ms - 1, 0), f"uid {at}", selectors, soft)


def keyed(_host: bytes | None, target: bytes) -> tuple[tuple[str, bytes], ...]:
    """A route that keys on no query: `/a?b` and `/a` are one."""
    return (("product", target.partition(b"?")[0]),)


def entry(
    target: bytes = b"/a",
    *,
    born: Position | None = GENESIS,
    host: bytes = b"shop",
    route: str = "product",
    tags: tuple[bytes, ...] = (),
) -> StoredResponse:
    """A response as far as the rule looks at it."""
    return StoredResponse.of(
        status=200,
        reason=b"OK",
        lines=b"",
        body=b"",
        route=route,
        host=host,
        target=target,
        born=born,
        received_at=0.0,
        initial_age=0.0,
        lifetime=60.0,
        expires_at=60.0,
        tags=tags,
    )


def is_named(selector: Selector, stored: StoredResponse) -> bool:
    """Does the selector name the entry? Written apart from the product, for plain paths."""
    parts = urlsplit(selector.value)
    if selector.kind in _PLACES:
        target = selector.value.removeprefix(f"{parts.scheme}://{parts.netloc}").encode()
        is_on_host = parts.netloc.encode() in (b"", stored.host)
        return is_on_host and _PLACES[selector.kind](target, stored.target)
    return {
        SelectorKind.EVERYTHING: True,
        SelectorKind.ROUTE: stored.route == selector.value,
        SelectorKind.TAG: selector.value.encode() in stored.tags,
    }[selector.kind]


def _is_under(glob: bytes, target: bytes) -> bool:
    path = target.partition(b"?")[0]
    if glob.endswith(b"/**"):
        return (path + b"/").startswith(glob[:-2])
    return path.rpartition(b"/")[0] == glob.removesuffix(b"/*") and not path.endswith(b"/")


_PLACES = {
    SelectorKind.URL: lambda target, stored: stored in (target, target.partition(b"?")[0]),
    SelectorKind.PREFIX: lambda target, stored: stored.startswith(target),
    SelectorKind.PATTERN: _is_under,
}


def judge_by_force(records: Iterable[Record], stored: StoredResponse, nonces: set[int]) -> Validity:
    """The rule (R4, in our order) against a list of every record there ever was."""
    born = stored.born
    is_placed = born is not None and born.nonce in nonces
    newer = [
        record
        for record in records
        if (not is_placed or record.position > born)
        and any(is_named(selector, stored) for selector in record.selectors)
    ]
    if any(not record.soft for record in newer):
        return Validity.DEAD
    if not is_placed:
        return Validity.DISTRUSTED
    return Validity.STALE if newer else Validity.ALIVE
