"""Calls between the supervisor and its workers: HTTP on unix sockets in a folder of this user alone.

Each end runs the applications of `admin`; a call has one answer, or none within its deadline.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import aiohttp
from yarl import URL

JSON = "application/json"


class Call(NamedTuple):
    """One request. `target` goes out as it stands."""

    method: str
    target: str
    body: bytes = b""
    content_type: str = JSON


class Reply(NamedTuple):
    """What the other end answered."""

    status: int
    body: bytes
    content_type: str


class Silence(NamedTuple):
    """No answer in time, as a value."""

    reason: str
    is_unheard: bool
    """Nobody listened: what was asked has not begun."""


class Channel:
    """To one other process."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    async def ask(self, call: Call, *, seconds: float) -> Reply | Silence:
        """The answer, within `seconds`. Each call has a connection of its own: none can be stale."""
        connector = aiohttp.UnixConnector(str(self._socket_path), force_close=True)
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(
                    call.method,
                    URL(f"http://localhost{call.target}", encoded=True),
                    data=io.BytesIO(call.body) if call.body else None,
                    headers={"Content-Type": call.content_type},
                ) as answer,
            ):
                return Reply(answer.status, await answer.read(), answer.content_type)
        except aiohttp.ClientConnectorError as error:
            return Silence(str(error), is_unheard=True)
        except TimeoutError:
            return Silence(f"nothing came within {seconds:g} s", is_unheard=False)
        except (aiohttp.ClientError, OSError) as error:
            return Silence(str(error) or type(error).__name__, is_unheard=False)
