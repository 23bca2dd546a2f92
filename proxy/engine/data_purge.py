"""PURGE on the data port, for the networks that the configuration names.

Without any network, PURGE is a method like others and passes to the origin.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address

from proxy.config import schema
from proxy.engine import answers
from proxy.engine.protocols import Log
from proxy.model import Answer, CacheStatus, Outcome, Request
from proxy.policy.dates import format_http_date
from proxy.policy.invalidation import Selector, SelectorKind

_ROUTE = "purge"
"""Stands for the route in metrics and logs: no route is asked."""


class DataPurge:
    """Answers PURGE requests."""

    def __init__(self, config: schema.DataPurge, log: Log, *, clock: Callable[[], float]) -> None:
        self._networks = config.from_
        self._log = log
        self._clock = clock

    def is_for(self, request: Request) -> bool:
        """Is the request ours rather than the origin's?"""
        return request.method == "PURGE" and bool(self._networks)

    async def answer(self, request: Request) -> Answer:
        """Purge the request's URL on its host, all variants; 403 for other networks."""
        now = self._clock()
        if not self._is_allowed(request.peer):
            detail = "PURGE is not allowed from this address; data_purge.from names the networks that may."
            return answers.refused(403, detail, now=now, route=_ROUTE, word="purge-refused")
        url = (request.scheme + b"://" + request.host + request.target).decode("latin-1")
        await self._log.append([Selector(SelectorKind.URL, url)], soft=False)
        body = json.dumps({"purged": url}).encode()
        lines = (
            b"Date: %b\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
            % format_http_date(now)
        )
        return Answer(
            200,
            b"OK",
            lines,
            body,
            Outcome.BYPASS,
            CacheStatus(detail="purge"),
            length=len(body),
            route=_ROUTE,
        )

    def _is_allowed(self, peer: str) -> bool:
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)
