"""An example API to put a cache in front of: a small shop that answers each request after ~20 ms.

It knows nothing of caching but what any API says of its own answers: Cache-Control and ETag on some.
X-Origin-Count counts the requests that reached it, so an answer from a cache shows an old number.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from operator import itemgetter
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from lifetime import until_ended

PRODUCTS = 500
"""Ids 1 to 500 exist."""
CATEGORIES = ("books", "garden", "kitchen", "music")
PAGE_SIZE = 20
SLOW_SECONDS = 1.0

_requests = web.AppKey("requests", dict[str, int])
_delay_seconds = web.AppKey("delay_seconds", float)


def application(delay_seconds: float) -> web.Application:
    """The shop; every answer takes `delay_seconds`, the slow ones a second more."""
    shop = web.Application(middlewares=[count, answer_late])
    shop[_requests] = {"all": 0}
    shop[_delay_seconds] = delay_seconds
    shop.add_routes(
        [
            web.get("/", welcome),
            web.get("/products", products),
            web.get("/products/{id}", product),
            web.get("/slow/{id}", slow),
            web.get("/cart/{customer}", cart),
            web.post("/cart/{customer}", cart),
            web.get("/__stats", stats),
        ]
    )
    return shop


@web.middleware
async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Numbers the answers; what does not exist is JSON, too."""
    counts = request.app[_requests]
    if request.path == "/__stats":
        return await handler(request)
    counts["all"] += 1
    number = counts["all"]
    try:
        response = await handler(request)
    except web.HTTPNotFound:
        response = web.json_response({"error": "not found", "path": request.path}, status=404)
    response.headers["X-Origin-Count"] = str(number)
    return response


@web.middleware
async def answer_late(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The time that a real API spends on its database."""
    if request.path != "/__stats":
        await asyncio.sleep(request.app[_delay_seconds])
    return await handler(request)


async def welcome(_request: web.Request) -> web.Response:
    return web.json_response(
        {"shop": "example", "try": ["/products", "/products/1", "/slow/1", "/cart/ann"]},
        headers={"Cache-Control": "max-age=60"},
    )


async def products(request: web.Request) -> web.Response:
    """A page of the list: ?category=books&page=2&sort=price. States no lifetime: the route's ttl decides."""
    category = request.query.get("category")
    page = int(number) if (number := request.query.get("page", "1")).isdecimal() else 1
    found = [item for item in map(details, range(1, PRODUCTS + 1)) if category in {None, item["category"]}]
    if request.query.get("sort") == "price":
        found.sort(key=itemgetter("price"))
    start = (max(page, 1) - 1) * PAGE_SIZE
    return web.json_response(
        {"total": len(found), "page": page, "products": found[start : start + PAGE_SIZE]}
    )


async def product(request: web.Request) -> web.Response:
    """One product, with an ETag; If-None-Match is answered with 304."""
    number = request.match_info["id"]
    if not number.isdecimal() or not 1 <= int(number) <= PRODUCTS:
        raise web.HTTPNotFound
    content = details(int(number))
    etag = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
    known = {tag.value for tag in request.if_none_match or ()}
    response = web.Response(status=304) if etag in known else web.json_response(content)
    response.etag = etag
    return response


async def slow(request: web.Request) -> web.Response:
    """A report that takes a second."""
    await asyncio.sleep(SLOW_SECONDS)
    return web.json_response({"report": request.match_info["id"], "number": request.app[_requests]["all"]})


async def cart(request: web.Request) -> web.Response:
    """One customer's own: no cache may keep it."""
    return web.json_response(
        {"customer": request.match_info["customer"], "lines": []},
        status=201 if request.method == "POST" else 200,
        headers={"Cache-Control": "private, no-store"},
    )


async def stats(request: web.Request) -> web.Response:
    """How many requests came; this one is not counted."""
    return web.json_response({"requests": request.app[_requests]["all"]})


def details(number: int) -> dict[str, Any]:
    """The product of that number."""
    return {
        "id": number,
        "name": f"Product {number}",
        "category": CATEGORIES[number % len(CATEGORIES)],
        "price": 199 + number * 37 % 5000,
    }


async def serve(arguments: argparse.Namespace) -> None:
    """Answer until we shall end."""
    runner = web.AppRunner(application(arguments.delay / 1000), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, arguments.host, arguments.port).start()
        host, port, *_ = runner.addresses[0]
        print(f"the shop listens on http://{host}:{port}", flush=True)
        await until_ended(follow_stdin=arguments.until_stdin_closes)
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="An example API: a small shop.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (default: 8000)")
    parser.add_argument(
        "--delay", type=float, default=20.0, metavar="MS", help="of each answer (default: 20)"
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that holds our standard input"
    )
    try:
        asyncio.run(serve(parser.parse_args()))
    except OSError as error:
        sys.exit(f"the shop cannot listen: {error.strerror}")


if __name__ == "__main__":
    main()
