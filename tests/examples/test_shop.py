"""The example API as a process."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.examples import run, running


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with running("shop.py", "--port", "0", "--delay", "1") as url:
        yield url


Said = tuple[int, http.client.HTTPMessage, bytes]


def ask(url: str, path: str, method: str = "GET", *, known: str | None = None) -> Said:
    """Status, fields and body; `known` is the validator that the client has."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, headers={"If-None-Match": known} if known else {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "cache_control"),
    [
        ("GET", "/", 200, "max-age=60"),
        ("GET", "/products", 200, None),
        ("GET", "/products/1", 200, None),
        ("GET", "/products/500", 200, None),
        ("GET", "/products/0", 404, None),
        ("GET", "/products/501", 404, None),
        ("GET", "/products/x", 404, None),
        ("GET", "/nothing", 404, None),
        ("GET", "/cart/ann", 200, "private, no-store"),
        ("POST", "/cart/ann", 201, "private, no-store"),
    ],
)
def test_each_path_answers_json_with_its_directives(shop, method, path, status, cache_control):
    found_status, fields, body = ask(shop, path, method)

    assert (found_status, fields["Cache-Control"]) == (status, cache_control)
    assert fields["Content-Type"].startswith("application/json")
    assert json.loads(body)


def test_each_answer_is_numbered_and_counted(shop):
    before = json.loads(ask(shop, "/__stats")[2])["requests"]

    numbers = [int(ask(shop, path)[1]["X-Origin-Count"]) for path in ("/products/1", "/nothing")]

    assert numbers == [before + 1, before + 2]
    assert json.loads(ask(shop, "/__stats")[2])["requests"] == before + 2


def test_a_product_has_a_validator(shop):
    etag = ask(shop, "/products/7")[1]["ETag"]

    known = ask(shop, "/products/7", known=etag)
    other = ask(shop, "/products/8", known=etag)

    assert (known[0], known[1]["ETag"], known[2]) == (304, etag, b"")
    assert other[0] == 200


@pytest.mark.parametrize(
    ("query", "first", "total"),
    [
        ("", 1, 500),
        ("?page=2", 21, 500),
        ("?page=0", 1, 500),
        ("?page=x", 1, 500),
        ("?category=garden", 1, 125),
        ("?category=garden&page=2", 81, 125),
        ("?category=none", None, 0),
    ],
)
def test_the_list_is_paged_and_filtered(shop, query, first, total):
    content = json.loads(ask(shop, f"/products{query}")[2])

    assert content["total"] == total
    assert next((product["id"] for product in content["products"]), None) == first


def test_the_list_can_be_sorted_by_price(shop):
    prices = [product["price"] for product in json.loads(ask(shop, "/products?sort=price")[2])["products"]]

    assert prices == sorted(prices)


def test_a_taken_port_is_told_without_a_traceback(shop):
    ended = run("shop.py", "--port", str(urlsplit(shop).port))

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "cannot listen" in ended.stderr
