"""The bytes of a hit that stands: what `wire.hit_head` says, made once."""

from __future__ import annotations

import pytest

from proxy.net.answering import COPIED_BYTES
from proxy.net.standing_hit import Standing, pieces_of
from proxy.net.wire import hit_head
from tests.support.canned_flow import Records, plain_hit


@pytest.mark.parametrize("with_x", [True, False])
def test_head_and_body_are_one_piece(with_x: bool) -> None:
    hit = plain_hit(b"small")

    assert pieces_of(hit, wants_body=True, with_x=with_x) == (
        hit_head(hit, b"small", with_x_cache_status=with_x),
        b"",
        5,
    )
    assert pieces_of(hit, wants_body=False, with_x=with_x) == (
        hit_head(hit, b"", with_x_cache_status=with_x),
        b"",
        0,
    )


def test_a_long_body_is_the_stored_one() -> None:
    hit = plain_hit(b"x" * (COPIED_BYTES + 1))
    first, rest, size = pieces_of(hit, wants_body=True, with_x=False)

    assert first == hit_head(hit, b"", with_x_cache_status=False)
    assert rest is hit.stored.body
    assert size == COPIED_BYTES + 1


def test_a_304_has_no_body() -> None:
    hit = plain_hit(b"x" * (COPIED_BYTES + 1))
    hit.is_not_modified = True

    first, rest, size = pieces_of(hit, wants_body=True, with_x=False)

    assert first.startswith(b"HTTP/1.1 304 ")
    assert (rest, size) == (b"", 0)


def test_both_answers_are_made_once_and_the_hit_stays_as_it_is() -> None:
    hit = plain_hit(b"small", etag=b'"1"')
    tally = Records().tally(hit.route, hit.outcome)
    standing = Standing(hit, "lasting", tally)

    whole = standing.write(wants_body=True, with_x=False)
    conditions = [(b"If-None-Match", b'"1"')]
    kept = standing.keep(conditions, with_x=True)

    assert standing.whole is whole == (hit, tally, pieces_of(hit, wants_body=True, with_x=False))
    assert standing.kept is kept is standing.keep([], with_x=True)
    assert (kept[0].status, hit.status) == (304, 200)
    assert kept[1:] == (tally, pieces_of(kept[0], wants_body=True, with_x=True))
