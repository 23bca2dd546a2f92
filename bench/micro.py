"""`python -m bench.micro`: what single steps of a hit cost, by pyperf."""

from __future__ import annotations

from hashlib import blake2b

import pyperf

from proxy.config.schema import Config
from proxy.model import Fields, Hit, LifetimeSource, Outcome, Request, StoredResponse, Validity
from proxy.net.wire import hit_head
from proxy.policy.cache_key import derive_secret, make_key
from proxy.policy.directives import request_directives
from proxy.policy.reuse import asking, decide
from proxy.policy.routes import Routes
from proxy.store.codec import decode, encode

NOW = 1_800_000_000.0
KEY = blake2b(b"key", digest_size=16).digest()
SECRET = derive_secret("bench")
REQUEST = Request(
    method="GET",
    target=b"/items/00000042",
    fields=Fields(
        (
            (b"Host", b"shop.example"),
            (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
            (b"Accept", b"application/json, text/plain, */*"),
            (b"Accept-Encoding", b"gzip, deflate, br"),
            (b"Accept-Language", b"en-US,en;q=0.9"),
            (b"X-Request-Id", b"6f1b2c3d-00000001"),
            (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            (b"X-Forwarded-For", b"10.1.2.3"),
            (b"X-Amzn-Trace-Id", b"Root=1-5759e988-bd862e3fe1be46a994272793"),
        )
    ),
    host=b"shop.example",
)
STORED = StoredResponse.of(
    status=200,
    reason=b"OK",
    lines=b'Content-Type: application/json\r\nCache-Control: max-age=3600\r\nETag: "v1"\r\n',
    body=b"x" * 1024,
    route="item",
    host=b"shop.example",
    target=b"/items/00000042",
    born=None,
    received_at=NOW,
    initial_age=0.0,
    lifetime=3600.0,
    expires_at=NOW + 7200,
    source=LifetimeSource.ROUTE,
)


def routes() -> Routes:
    """Five routes, of which the last one matches."""
    others = [{"name": f"other-{n}", "match": {"path": f"/other/{n}/**"}} for n in range(4)]
    item = {"name": "item", "match": {"path": "/items/{id}"}, "ttl": "5m", "tags": ["item:{id}"]}
    return Routes(
        Config.model_validate({"origin": {"url": "http://127.0.0.1:8000"}, "routes": [*others, item]})
    )


def main() -> None:
    runner = pyperf.Runner()
    compiled = routes()
    route = compiled.match(REQUEST).route
    asked = asking(REQUEST, request_directives(REQUEST.fields), route.policy)
    hit = Hit(STORED, 7, 3593, Outcome.HIT, "l1", "item", NOW + 7)
    packed = encode(KEY, STORED)
    runner.bench_func("match", compiled.match, REQUEST)
    runner.bench_func("key", lambda: make_key(REQUEST, route, secret=SECRET))
    runner.bench_func(
        "decide",
        lambda: decide(STORED, Validity.ALIVE, asked, route.policy, now=NOW + 7, roll=0.5),
    )
    runner.bench_func("head write", lambda: hit_head(hit, STORED.body, with_x_cache_status=False))
    runner.bench_func("codec: encode", encode, KEY, STORED)
    runner.bench_func("codec: decode", decode, KEY, packed)


if __name__ == "__main__":
    main()
