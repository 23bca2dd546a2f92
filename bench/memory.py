"""`memory`: bytes that one entry of L1 takes above its head, body and key.

Makes entries as the product does (a response head through the rules of storing), puts them into L1 and
uses each once. Counted from outside: what the process grew by, less the lengths of head, body and key:

    python -m bench.memory 100000 1000000
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from proxy.config.flags import defaults_for_origin
from proxy.config.loading import Faults
from proxy.model import Fields, Framing, Position, Reason, Request, ResponseHead, StoredResponse
from proxy.observe.metrics import Metrics
from proxy.policy.cache_key import CacheKey, make_key
from proxy.policy.dates import format_http_date
from proxy.policy.routes import Routes
from proxy.policy.storing import StorePlan, plan, stored
from proxy.store.memory import MemoryStore

COUNTS = (100_000, 1_000_000)
BAR_BYTES, GOAL_BYTES = 700, 450
BODY_BYTES = 1024
_PLANS = 997
NOW = 1_800_000_000.0
_ROOT = Path(__file__).parent.parent


def made(count: int) -> Iterator[tuple[CacheKey, StoredResponse, float]]:
    """Keys, entries and the instants at which they come; no two share a number or a text but by the rules."""
    loaded = defaults_for_origin(
        "http://127.0.0.1:8000", listen="127.0.0.1:0", ops="off", admin="off", profile="safe"
    )
    if isinstance(loaded, Faults):
        raise SystemExit(str(loaded))
    routes, born = Routes(loaded.config), Position(1, 1_799_999_999_000, 0, 2**63 + 1)
    plans = [_planned(number, routes) for number in range(_PLANS)]
    for number in range(count):
        planned = plans[number % _PLANS]
        request = Request("GET", b"/products/%08d" % number, Fields(), host=b"shop.%b" % b"test")
        key = make_key(request, routes.match(request).route, secret=b"secret")
        body = blake2b(b"%d" % number).digest() * (BODY_BYTES // 64)
        entry = stored(planned, body, key, born=born, fetch_seconds=0.004 + number % 1009 / 99991)
        since = number // _PLANS * 0.1
        yield key, _own(entry, number, since), entry.received_at + since


def _planned(number: int, routes: Routes) -> StorePlan:
    request = Request("GET", b"/", Fields(), host=b"shop.test")
    received_at = NOW + number / 9973
    planned = plan(
        request,
        ResponseHead(200, _fields(number, received_at), b"%bK" % b"O"),
        Framing.LENGTH,
        routes.match(request),
        requested_at=received_at - 0.003 - number / 99991,
        received_at=received_at,
        roll=number / _PLANS,
        profile="safe",
    )
    if isinstance(planned, Reason):
        raise SystemExit(f"not stored: {planned}")
    return planned


def _own(entry: StoredResponse, number: int, since: float) -> StoredResponse:
    """With texts and numbers of its own: the rules take half a millisecond, too long for a million."""
    etag = _etag(number)
    return entry.but(
        lines=entry.lines.replace(entry.etag or b"", etag),
        etag=etag,
        received_at=entry.received_at + since,
        expires_at=entry.expires_at + since,
    )


def _etag(number: int) -> bytes:
    return b'"%016x"' % (number * 2654435761)


def _fields(number: int, received_at: float) -> Fields:
    return Fields(
        [
            (b"Date", format_http_date(received_at)),
            (b"Content-Type", b"application/json; charset=utf-8"),
            (b"Cache-Control", b"public, max-age=36000"),
            (b"ETag", _etag(number)),
            (b"Server", b"uvicorn"),
        ]
    )


def filled(count: int) -> tuple[MemoryStore, int]:
    """An L1 of `count` entries, each used once, and the bytes of their heads, bodies and keys."""
    plenty = 1 << 40
    store = MemoryStore(Metrics(), max_entries=count * 10 // 9 + 2, max_bytes=plenty, max_entry_bytes=plenty)
    payload = 0
    for key, entry, now in made(count):
        store.put(key.digest, entry, now)
        payload += len(entry.lines) + len(entry.body) + len(entry.target) + len(key.digest)
        store.peek(key.digest, now + 1)
    if len(store) != count:
        raise SystemExit(f"{len(store)} entries are there, not {count}")
    return store, payload


def _measured(count: int, *, is_traced: bool) -> dict[str, float]:
    """In this process, which should be fresh."""
    filled(100)
    if is_traced:
        tracemalloc.start()
    before = _resident()
    store, payload = filled(count)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] if is_traced else _resident() - before
    counted = sum(store.gauges()["l1_bytes"]().values())
    return {"above": (grown - payload) / count, "payload": payload / count, "counted": counted / grown}


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def measure(count: int, *, is_traced: bool = False) -> dict[str, float]:
    """By a process of its own: bytes above payload, payload, and the share that L1 counts."""
    command = [sys.executable, "-m", "bench.memory", "--child", str(count), *["--traced"] * is_traced]
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=170, check=True)
    result: dict[str, float] = json.loads(ended.stdout)
    return result


def main() -> None:
    """Print a line for each count of entries given, or for the usual ones."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--child"]:
        print(json.dumps(_measured(int(arguments[1]), is_traced="--traced" in arguments)))
        return
    print(f"bar {BAR_BYTES}, goal {GOAL_BYTES} bytes an entry above head, body and key")
    for count in map(int, arguments or COUNTS):
        found = measure(count)
        print(
            f"{count:>9,} entries: {found['above']:.0f} above {found['payload']:.0f} bytes"
            f" (resident memory); L1 counts {found['counted']:.1%} of it"
        )


if __name__ == "__main__":
    main()
