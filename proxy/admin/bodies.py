"""What an operator's request says: query parameters and JSON bodies, checked, or a problem naming the field.

An unknown parameter is refused: a misspelt `dry_run` must not purge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import orjson
from aiohttp import web

from proxy.admin.problems import refuse
from proxy.config.units import duration_seconds

LARGEST_BODY = 1024 * 1024
BODY_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 60.0

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


async def json_body(request: web.Request) -> object:
    """The body's JSON value. Refuses another type with 415, too many bytes with 413, no JSON with 422."""
    # A page of another origin can post this type only after asking first, which is never allowed here.
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise refuse(415, "expected a body of Content-Type application/json, without Content-Encoding")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return orjson.loads(await request.read())
    except web.HTTPRequestEntityTooLarge:
        raise refuse(413, f"the body is larger than {LARGEST_BODY} bytes") from None
    except TimeoutError:
        raise refuse(408, f"the body did not arrive within {BODY_SECONDS:g} s") from None
    except orjson.JSONDecodeError as error:
        raise refuse(422, "the body is not JSON", faults=[("", str(error))]) from None


def taken_flag(body: object, name: str) -> tuple[object, bool]:
    """The body without the key, and whether it was true; absent is false. Refuses any other value."""
    if not isinstance(body, dict) or name not in body:
        return body, False
    given = body[name]
    if not isinstance(given, bool):
        raise refuse(
            422, "the body has faults", faults=[(name, f"expected true or false, found {given!r:.50}")]
        )
    return {key: value for key, value in body.items() if key != name}, given


def check_names(request: web.Request, known: Collection[str]) -> None:
    """Refuse parameters beyond the known ones, and those given twice."""
    faults = [
        (name, f"unknown parameter; expected {', '.join(sorted(known)) or 'none'}")
        for name in request.query
        if name not in known
    ]
    faults += [(name, "given more than once") for name in known if len(request.query.getall(name, ())) > 1]
    if faults:
        raise refuse(422, "the query has faults", faults=faults)


def flag(request: web.Request, name: str) -> bool:
    """The parameter as true or false; absent is false."""
    text = request.query.get(name, "false")
    if text not in _FLAGS:
        raise refuse(422, "the query has faults", faults=[(name, f"expected true or false, found {text!r}")])
    return _FLAGS[text]


def wait_seconds(request: web.Request, name: str, *, most: float = LONGEST_WAIT_SECONDS) -> float | None:
    """The parameter as seconds, at most `most`; None when absent."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        seconds = duration_seconds(text)
    except ValueError as error:
        raise refuse(422, "the query has faults", faults=[(name, f"{error}, found {text!r}")]) from None
    if seconds > most:
        expected = f"expected at most {most:g}s, found {text!r}"
        raise refuse(422, "the query has faults", faults=[(name, expected)])
    return seconds


def count(request: web.Request, name: str, *, default: int, most: int, least: int = 1) -> int:
    """The parameter as a number from `least` to `most`."""
    text = request.query.get(name, str(default))
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) else -1
    if not least <= number <= most:
        raise refuse(
            422, "the query has faults", faults=[(name, f"expected {least} to {most}, found {text!r}")]
        )
    return number
