"""What holds for any sequence of responses, requests and steps of the clock, through the whole engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model import Answer, Entry, FieldLine, Outcome
from tests.support.engine_fakes import Engine, FakeL2, Reply, body_of
from tests.support.routing import get

SECONDS = st.sampled_from([0, 1, 5, 8, 60, 2**31])
FRESH = frozenset({Outcome.HIT, Outcome.HIT_L2, Outcome.NEGATIVE})


@dataclass(frozen=True)
class Stated:
    """One response of the origin, as its rules are stated."""

    max_age: int | None = None
    s_maxage: int | None = None
    age: int | None = None
    words: frozenset[str] = frozenset()
    etag: bool = False
    vary: bool = False

    def reply(self, number: int) -> Reply:
        directives = [*sorted(self.words)]
        directives += [f"max-age={self.max_age}"] if self.max_age is not None else []
        directives += [f"s-maxage={self.s_maxage}"] if self.s_maxage is not None else []
        lines: list[FieldLine] = [(b"Cache-Control", ", ".join(directives).encode())] if directives else []
        lines += [(b"Age", b"%d" % self.age)] if self.age is not None else []
        lines += [(b"ETag", b'"%d"' % number)] if self.etag else []
        lines += [(b"Vary", b"X-Variant")] if self.vary else []
        return Reply(tuple(lines), (b"%d" % number,))

    @property
    def lifetime(self) -> int:
        """What the origin says, by the order of RFC 9111 §4.2.1; 0 where it says nothing."""
        stated = (self.s_maxage, self.max_age)
        return next((seconds for seconds in stated if seconds is not None), 0)

    @property
    def is_for_one(self) -> bool:
        """May nobody else ever get it?"""
        return not self.words.isdisjoint({"private", "no-store"})

    @property
    def is_shared_despite_authorization(self) -> bool:
        return self.s_maxage is not None or not self.words.isdisjoint({"public", "must-revalidate"})


STATED = st.builds(
    Stated,
    max_age=st.none() | SECONDS,
    s_maxage=st.none() | SECONDS,
    age=st.none() | SECONDS,
    words=st.frozensets(
        st.sampled_from(["private", "no-store", "no-cache", "public", "must-revalidate", "foo"]), max_size=2
    ),
    etag=st.booleans(),
    vary=st.booleans(),
)
ASKED = st.fixed_dictionaries(
    {
        "user": st.sampled_from([None, None, b"alice", b"bob"]),
        "variant": st.sampled_from([b"1", b"2"]),
        "wants": st.sampled_from([None, None, b"max-age=3", b"no-cache", b"min-fresh=4", b"max-stale"]),
    }
)
STEPS = st.lists(st.tuples(ASKED, st.sampled_from([0, 0, 1, 4, 9])), min_size=2, max_size=8)
"""Questions, and the seconds until the next one."""


class ForgettingL2(FakeL2):
    """Forgets what has expired, as a server does."""

    clock: Callable[[], float]

    async def look_up(self, key: bytes) -> Entry | None:
        entry = await super().look_up(key)
        return entry if entry is not None and entry.expires_at > self.clock() else None


class Story:
    """An engine, what its origin said to whom and when, and what clients got."""

    def __init__(self, script: list[Stated], *, is_tiered: bool = False) -> None:
        l2 = ForgettingL2() if is_tiered else None
        self.engine = Engine(stale_if_error="0s", l2=l2)
        if l2 is not None:
            l2.clock = self.engine.clock
        self.script = script
        self.made: list[tuple[Stated, bytes | None, float]] = []
        self.told: list[tuple[Answer, bytes, bytes | None, float]] = []

    async def tell(self, steps: list[tuple[Any, int]]) -> None:
        for asked, seconds in steps:
            await self._ask(**asked)
            self.engine.step(seconds)

    async def _ask(self, user: bytes | None, variant: bytes, wants: bytes | None) -> None:
        stated = self.script[len(self.made) % len(self.script)]
        # Numbered by what was made so far: a 304 never comes, so each fetch has content of its own.
        self.engine.origin.will(stated.reply(len(self.made)))
        asked = len(self.engine.origin.requests)
        lines = [(b"X-Variant", variant)]
        lines += [(b"Authorization", user)] if user else []
        lines += [(b"Cache-Control", wants)] if wants else []
        answer = await self.engine.serve(get(b"/", *lines))
        body = await body_of(answer)
        await self.engine.settle()
        now = self.engine.clock()
        if len(self.engine.origin.requests) > asked:
            self.made.append((stated, user, now))
        self.told.append((answer, body, user, now))


@settings(max_examples=300)
@given(st.lists(STATED, min_size=1, max_size=3), STEPS)
def test_what_is_served_as_fresh_is_never_older_than_its_lifetime(
    script: list[Stated], steps: list[tuple[Any, int]]
) -> None:
    story = Story(script)
    asyncio.run(story.tell(steps))

    for answer, body, _, now in story.told:
        if answer.outcome in FRESH:
            stated, _, made_at = story.made[int(body)]
            assert now - made_at + (stated.age or 0) < stated.lifetime


@settings(max_examples=300)
@given(st.lists(STATED, min_size=1, max_size=3), STEPS)
def test_what_is_for_one_is_never_served_to_others(
    script: list[Stated], steps: list[tuple[Any, int]]
) -> None:
    story = Story(script)
    asyncio.run(story.tell(steps))

    for answer, body, user, _ in story.told:
        stated, made_for, _ = story.made[int(body)]
        if answer.outcome in FRESH:
            assert not stated.is_for_one
            assert user == made_for is None or stated.is_shared_despite_authorization


@settings(max_examples=300)
@given(st.lists(STATED, min_size=1, max_size=3), STEPS)
def test_the_second_tier_changes_no_decision(script: list[Stated], steps: list[tuple[Any, int]]) -> None:
    alone, tiered = Story(script), Story(script, is_tiered=True)
    asyncio.run(alone.tell(steps))
    asyncio.run(tiered.tell(steps))

    assert [_seen(answer, body) for answer, body, *_ in alone.told] == [
        _seen(answer, body) for answer, body, *_ in tiered.told
    ]


def _seen(answer: Answer, body: bytes) -> tuple[Any, ...]:
    outcome = Outcome.HIT if answer.outcome is Outcome.HIT_L2 else answer.outcome
    return body, outcome, answer.status, answer.age


def test_the_stories_tell_of_hits_and_of_other_users() -> None:
    story = Story([Stated(max_age=60, words=frozenset({"public"}))])
    ask = {"user": None, "variant": b"1", "wants": None}
    asyncio.run(story.tell([(ask, 50), ({**ask, "user": b"bob"}, 13), (ask, 0)]))

    assert [body for _, body, *_ in story.told] == [b"0", b"0", b"1"]
