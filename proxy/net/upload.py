"""A request's body to the origin, framed as the head said: counted, or chunked.

The count is kept: a body that is not exactly as long as stated must never look complete.
"""

from __future__ import annotations

from proxy.model import Body, BodyBroken, FailureKind, OriginFailure
from proxy.net.origin_connection import OriginConnection

_LAST_CHUNK = b"0\r\n\r\n"


def frame_whole(body: bytes, length: int | None) -> tuple[bytes, ...] | OriginFailure:
    """A body that is all there, as pieces to be written; `length` is what the head said of it."""
    if length is None:
        return (*_chunk(body), _LAST_CHUNK) if body else (_LAST_CHUNK,)
    return (body,) if len(body) == length else _wrong_length(len(body), length)


async def send_body(body: Body, connection: OriginConnection, *, patience: float) -> OriginFailure | None:
    """Send all of it. `patience`: how many seconds the origin may take no bytes. None: sent."""
    length = body.length
    sent = 0
    try:
        while piece := await body.read():
            sent += len(piece)
            if length is not None and sent > length:
                return _client_failure(f"{sent} bytes or more, expected {length}")
            connection.write((piece,) if length is not None else _chunk(piece))
            if not await connection.drain(patience):
                return OriginFailure(FailureKind.IDLE_TIMEOUT, f"took no bytes for {patience:g} s")
    except BodyBroken as broken:
        return _client_failure(str(broken.failure))
    if length is None:
        connection.write((_LAST_CHUNK,))
    elif sent < length:
        return _wrong_length(sent, length)
    return None


def _chunk(piece: bytes) -> tuple[bytes, ...]:
    return b"%x\r\n" % len(piece), piece, b"\r\n"


def _wrong_length(sent: int, length: int) -> OriginFailure:
    return _client_failure(f"{sent} bytes, expected {length}")


def _client_failure(detail: str) -> OriginFailure:
    return OriginFailure(FailureKind.CLIENT_BODY, detail)
