"""Errors of the operator's ports as application/problem+json (RFC 9457), aiohttp's own ones included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

CONTENT_TYPE = "application/problem+json"
Fault = tuple[str, str]
"""The field that is wrong, and what is wrong with it."""

_log = structlog.get_logger("sidecache.admin")


class Refused(Exception):
    """A request that a handler will not act on; carries the answer."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


def problem(
    status: int,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    fields: Mapping[str, str] | None = None,
) -> web.Response:
    """The answer for an error; `faults` name the fields at fault, `fields` are header fields to add."""
    content: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if faults:
        content["errors"] = [{"field": field, "message": message} for field, message in faults]
    return web.Response(status=status, body=orjson.dumps(content), content_type=CONTENT_TYPE, headers=fields)


def refuse(status: int, detail: str, *, faults: Sequence[Fault] = ()) -> Refused:
    """To be raised: ends the request with this problem."""
    return Refused(problem(status, detail, faults=faults))


@web.middleware
async def errors_as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as a problem; what nobody expected is logged and says nothing of itself."""
    try:
        return await handler(request)
    except Refused as refused:
        return refused.answer
    except web.HTTPMethodNotAllowed as error:
        return _method_not_allowed(request, error)
    except web.HTTPException as error:
        return problem(error.status, f"{request.method} {request.path}: {error.reason}")
    except Exception:  # noqa: BLE001 - the last resort: an operator's mistake must not end the process
        _log.exception("admin request crashed", method=request.method, path=request.path)
        return problem(500, "this request failed; the log has the traceback")


def _method_not_allowed(request: web.Request, error: web.HTTPMethodNotAllowed) -> web.Response:
    # PURGE is allowed on every path: where nothing else is, there is nothing.
    allowed = sorted(error.allowed_methods - {"PURGE"})
    if not allowed:
        return problem(404, f"there is nothing at {request.path}")
    return problem(
        405,
        f"{request.path} takes {', '.join(allowed)}, not {request.method}",
        fields={"Allow": ", ".join(allowed)},
    )
