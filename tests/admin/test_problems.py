"""What leaves when something goes wrong."""

from __future__ import annotations

from http import HTTPStatus

import orjson
import pytest
import structlog
from aiohttp import web

from proxy.admin.problems import errors_as_problems, problem, refuse
from tests.support.operators import opened


def application(handler) -> web.Application:
    made = web.Application(middlewares=[errors_as_problems])
    made.add_routes([web.get("/", handler)])
    return made


def test_a_problem_names_status_title_and_faults():
    answer = problem(422, "no", faults=[("urls[0]", "expected text")])

    assert (answer.status, answer.content_type) == (422, "application/problem+json")
    assert isinstance(answer.body, bytes)
    assert orjson.loads(answer.body) == {
        "type": "about:blank",
        "title": HTTPStatus(422).phrase,  # Python 3.13 has the newer one
        "status": 422,
        "detail": "no",
        "errors": [{"field": "urls[0]", "message": "expected text"}],
    }


async def test_a_refusal_ends_the_request():
    async def handler(_request: web.Request) -> web.Response:
        raise refuse(415, "not this")

    async with opened(application(handler)) as call:
        said = await call("GET", "/")

    assert (said.status, said.content["detail"]) == (415, "not this")


async def test_a_crash_is_500_and_says_nothing_of_itself():
    async def handler(_request: web.Request) -> web.Response:
        raise RuntimeError("the token is hunter2")

    with structlog.testing.capture_logs() as lines:
        async with opened(application(handler)) as call:
            said = await call("GET", "/")

    assert said.status == 500
    assert b"hunter2" not in said.body
    assert [line["event"] for line in lines] == ["admin request crashed"]


@pytest.mark.parametrize("error", [web.HTTPNotFound, web.HTTPBadRequest, web.HTTPServiceUnavailable])
async def test_an_error_of_aiohttp_becomes_a_problem(error):
    async def handler(_request: web.Request) -> web.Response:
        raise error

    async with opened(application(handler)) as call:
        said = await call("GET", "/")

    assert said.status == error.status_code
    assert said.content["status"] == error.status_code
