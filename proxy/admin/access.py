"""Who may use the admin port: a bearer token, or nobody but programs of this machine.

That a port beyond loopback has a token is the configuration's to check. Knows no operation.
"""

from __future__ import annotations

import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from proxy.admin.problems import problem
from proxy.config.server_faults import is_loopback

_SCHEME = b"bearer "


def is_authorised(authorization: bytes, token: str) -> bool:
    """Whether the Authorization field carries the token; takes equally long for every wrong one."""
    scheme, credentials = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
    is_token = hmac.compare_digest(credentials.strip(), token.encode())
    return is_token and scheme.lower() == _SCHEME


def is_of_this_machine(host: str | None, origin: str | None) -> bool:
    """Whether a request without a token was meant for this machine and not sent by a web page.

    A page can make its own name resolve to 127.0.0.1 (Host then bears that name) and can post across
    origins (Origin then stands in the request).
    """
    if host is None or origin is not None:
        return False
    name, colon, port = host.rpartition(":")
    is_name_with_port = bool(colon) and port.isdecimal()
    return is_loopback((name if is_name_with_port else host).strip("[]"))


def guard(token: str | None) -> Middleware:
    """The middleware that lets only the operator pass."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        denial = _denial(request, token)
        return denial if denial is not None else await handler(request)

    return guarded


def _denial(request: web.Request, token: str | None) -> web.Response | None:
    fields = request.headers
    if token is None:
        if is_of_this_machine(fields.get("Host"), fields.get("Origin")):
            return None
        return problem(403, "without admin.token only this machine's own programs may ask, not web pages")
    if is_authorised(fields.get("Authorization", "").encode("utf-8", "surrogateescape"), token):
        return None
    return problem(
        401,
        "this port needs `Authorization: Bearer <admin.token>`",
        fields={"WWW-Authenticate": 'Bearer realm="sidecache admin"'},
    )
