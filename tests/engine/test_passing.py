"""Requests that pass, and what an unsafe one takes back."""

from __future__ import annotations

from tests.support.engine_fakes import REFUSED, Engine, detail_of
from tests.support.routing import get


async def test_a_bypass_that_fails_is_a_problem() -> None:
    engine = Engine()
    engine.origin.will(REFUSED)
    answer = await engine.serve(get(method="POST"))
    assert (answer.status, answer.failure, detail_of(answer)) == (502, REFUSED, "refused")


async def test_an_unsafe_request_purges_its_target() -> None:
    engine = Engine()
    await engine.serve(get(b"/a", method="POST"))
    ((selectors, soft),) = engine.log.purged
    assert ([selector.value for selector in selectors], soft) == (["http://shop/a"], False)
