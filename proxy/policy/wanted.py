"""What an operator wants to be in the cache: URLs and fields, read into the requests that clients send.

A key holds the host, so each URL needs one: its own, or that of a Host among the fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from proxy.model import FieldLine, Fields, Request
from proxy.policy.invalidation import MOST_VALUE_BYTES, parse_selectors
from proxy.policy.places import place_of

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_HOST = "host"
_NOT_OURS_TO_SAY = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "proxy-connection",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Of one connection, of a body, or for less than the whole answer."""
Fault = tuple[str, str]


class Wanted(NamedTuple):
    """One URL as it was written, and the request for it."""

    url: str
    request: Request


def parse_wanted(body: object, *, limit: int) -> tuple[Wanted, ...] | list[Fault]:
    """The requests of `{"urls": [], "headers": {}}`, each URL once; all faults where there are any.

    `limit` is the most URLs of one call.
    """
    if not isinstance(body, Mapping):
        return [("", "expected an object with urls")]
    faults: list[Fault] = [
        (str(name), "unknown field; expected urls, headers")
        for name in body
        if name not in {"urls", "headers"}
    ]
    if not body.get("urls"):
        return [*faults, ("urls", "expected a list of URLs, at least one")]
    urls = parse_selectors({"urls": body["urls"]}, limit=limit)
    if isinstance(urls, list):
        faults += urls
    lines = _lines(body.get("headers", {}), faults)
    if faults or isinstance(urls, list):
        return faults
    return _requests([selector.value for selector in urls], lines)


def _requests(urls: list[str], lines: list[FieldLine]) -> tuple[Wanted, ...] | list[Fault]:
    fields = Fields(lines)
    given = fields.first(_HOST.encode())
    others = fields.without({_HOST.encode()}).lines
    wanted: list[Wanted] = []
    faults: list[Fault] = []
    for index, url in enumerate(urls):
        place = place_of(url)
        host = place.host or given
        if host is None:
            faults.append((f"urls[{index}]", "expected http(s)://host/path, or a Host in headers"))
            continue
        asked = Fields([(b"Host", host), *others])
        wanted.append(Wanted(url, Request("GET", place.target, asked, host=host)))
    return faults or tuple(wanted)


def _lines(headers: object, faults: list[Fault]) -> list[FieldLine]:
    if not isinstance(headers, Mapping):
        faults.append(("headers", "expected an object of names and values"))
        return []
    lines = []
    for name, value in headers.items():
        try:
            lines.append(_line(name, value))
        except ValueError as error:
            faults.append((f"headers.{name}", str(error)))
    if sum(len(name) + len(value) for name, value in lines) > MOST_VALUE_BYTES:
        faults.append(("headers", f"expected at most {MOST_VALUE_BYTES} bytes"))
    return lines


def _line(name: object, value: object) -> FieldLine:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("expected the name of a request field")
    if name.lower() in _NOT_OURS_TO_SAY:
        raise ValueError("expected no field about the connection, a body, a range or a condition")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise ValueError("expected text without control characters")
    if name.lower() == _HOST:
        value = _host(value)
    return name.encode(), value.strip(" \t").encode("latin-1")


def _host(value: str) -> str:
    """In the form of Request.host. Raises ValueError."""
    try:
        host, target = place_of(f"http://{value}/")
    except ValueError:
        host, target = None, b""
    if host is None or target != b"/":
        raise ValueError("expected a host, or host:port")
    return host.decode()
