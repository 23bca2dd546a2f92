"""A body on its way in: collected to be stored, and read along by the one client that asked.

Knows the bounds of what may be kept, and nothing of why it is.
"""

from __future__ import annotations

from proxy.engine.coalescing import Ending, Failed, Flight, Released, Streaming
from proxy.engine.lookup import Lookup
from proxy.engine.spool import Spool, SpoolBudget
from proxy.model import BodyBroken, OriginResponse, Reason
from proxy.observe.metrics import Metrics

WHOLE_BYTES = 64 * 1024
"""A body stated to be at most this long is collected before its first byte is sent: if the origin breaks
off, the client still gets a stale answer or a clean 502 instead of an aborted connection."""


def is_large(response: OriginResponse) -> bool:
    """Is its client served while the body still comes in?"""
    length = response.body.length
    return length is None or length > WHOLE_BYTES


class Receiver:
    """Receives bodies within `budget` and what one entry may hold."""

    def __init__(self, *, budget: SpoolBudget, max_entry_bytes: int, metrics: Metrics) -> None:
        self._budget = budget
        self._max_entry_bytes = max_entry_bytes
        self._metrics = metrics

    def max_body(self, lookup: Lookup) -> int:
        """The most bytes of a body that is stored for this lookup."""
        asked = lookup.policy.max_body
        # After a reload the route's limit may be above L1's, which only a restart changes.
        return self._max_entry_bytes if asked is None else min(asked, self._max_entry_bytes)

    def arrived(self, lookup: Lookup, response: OriginResponse) -> bytes | None:
        """All of a body that may be kept, if it came with the head; None: to be received."""
        length = response.body.length
        is_kept = length is not None and length <= self.max_body(lookup)
        return response.body.take_rest() if is_kept else None

    async def receive(
        self, flight: Flight, lookup: Lookup, response: OriginResponse, *, is_streamed: bool
    ) -> bytes | Ending:
        """The body, once it is complete; or how the fetch ends without it."""
        length = response.body.length
        spool = Spool(length=length, max_bytes=self.max_body(lookup), budget=self._budget)
        if is_streamed:
            _open_stream(flight, response, spool)
        try:
            while piece := await response.body.read():
                if not spool.try_add(piece):
                    if lookup.completes:
                        response.body.abandon()
                        return Released(Reason.TOO_LARGE)
                    return await self._pipe(flight, lookup, response, spool, piece)
            return spool.complete()
        except BodyBroken as broken:
            spool.fail(broken.failure)
            return Failed(broken.failure.kind.status, broken.failure)
        finally:
            spool.release()

    async def _pipe(
        self, flight: Flight, lookup: Lookup, response: OriginResponse, spool: Spool, piece: bytes
    ) -> Ending:
        """The body is too large to keep: release the followers, stream the rest to the leader."""
        if not spool.has_reader:
            _open_stream(flight, response, spool)
        spool.become_pipe()
        spool.release()
        released = Released(Reason.TOO_LARGE)
        self._metrics.not_stored.add(lookup.match.route.name, Reason.TOO_LARGE.value)
        flight.end(released)
        while piece:
            if not await spool.push(piece):
                response.body.abandon()
                break
            piece = await response.body.read()
        spool.end_pipe()
        return released


def _open_stream(flight: Flight, response: OriginResponse, spool: Spool) -> None:
    reader = spool.reader()
    if not flight.open(Streaming(response.head, reader)):
        reader.abandon()
