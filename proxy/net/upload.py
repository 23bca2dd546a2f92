"""A request's body to the origin, framed as the head said: counted, or chunked.

The count is kept: a body that is not exactly as long as stated must never look complete.
"""

from __future__ import annotations

from proxy.model import Body, BodyBroken, FailureKind, OriginFailure
from proxy.net.origin_connection import OriginConnection

_LAST_CHUNK = b"0\r\n\r\n"


async def send_body(body: Body, connection: OriginConnection, *, patience: float) -> OriginFailure | None:
    """Send all of it. `patience`: how many seconds the origin may take no bytes. None: sent."""
    length = body.length
    sent = 0
    try:
        while piece := await body.read():
            sent += len(piece)
            if length is not None and sent > length:
                return _client_failure(f"{sent} bytes or more, expected {length}")
            connection.write((piece,) if length is not None else (b"%x\r\n" % len(piece), piece, b"\r\n"))
            if not await connection.drain(patience):
                return OriginFailure(FailureKind.IDLE_TIMEOUT, f"took no bytes for {patience:g} s")
    except BodyBroken as broken:
        return _client_failure(str(broken.failure))
    if length is None:
        connection.write((_LAST_CHUNK,))
    elif sent < length:
        return _client_failure(f"{sent} bytes, expected {length}")
    return None


def _client_failure(detail: str) -> OriginFailure:
    return OriginFailure(FailureKind.CLIENT_BODY, detail)
