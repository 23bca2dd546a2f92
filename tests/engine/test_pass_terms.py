"""Which requests pass without a look of the engine's at their answers, and how."""

from __future__ import annotations

import pytest

from proxy.engine.unsafe_methods import NAMING_FIELDS
from proxy.model import CacheStatus, FieldLine, Forward, Outcome, RelayTerms, Request
from tests.support.engine_fakes import Engine
from tests.support.routing import get


def terms(engine: Engine, request: Request) -> RelayTerms | None:
    return engine.flow.pass_terms(engine.flow.plan(request), request)


@pytest.mark.parametrize(
    ("method", "forward", "detail", "watched"),
    [
        ("GET", Forward.BYPASS, "route", frozenset()),
        ("OPTIONS", Forward.BYPASS, "route", frozenset()),
        ("POST", Forward.BYPASS, "route", NAMING_FIELDS),
        ("DELETE", Forward.BYPASS, "route", NAMING_FIELDS),
    ],
)
def test_what_no_route_caches_passes_as_it_is(
    method: str, forward: Forward, detail: str, watched: frozenset[bytes]
) -> None:
    made = terms(Engine(cache=False), get(method=method))

    assert made is not None
    assert (made.route, made.outcome, made.watched) == ("all", Outcome.BYPASS, watched)
    assert made.cache_status == CacheStatus(forward=forward, detail=detail)


def test_requests_that_pass_alike_have_the_same_terms() -> None:
    engine = Engine(cache=False)

    assert terms(engine, get(b"/a")) is terms(engine, get(b"/b", (b"X-A", b"1")))
    assert terms(engine, get(b"/a")) is not terms(engine, get(b"/a", method="POST"))


@pytest.mark.parametrize("line", [(b"Connection", b"x-hop"), (b"X-Preview", b"1")])
def test_a_request_that_bypasses_the_cache_passes_too(line: FieldLine) -> None:
    engine = Engine(bypass_when={"headers": ["X-Preview"]})

    assert terms(engine, get()) is None
    assert terms(engine, get(b"/", line)) is not None


def test_an_unsafe_request_for_what_is_cached_is_looked_at() -> None:
    assert terms(Engine(), get(method="POST")) is None


def test_a_purge_of_ours_does_not_pass() -> None:
    engine = Engine(cache=False, sections={"data_purge": {"from": ["10.0.0.0/8"]}})

    assert terms(engine, get(method="PURGE")) is None
