"""What a lookup asks for, and with whom it may share a fetch."""

from __future__ import annotations

import pytest

from proxy.model import FieldLine, Forward, Validity, VaryRecord
from tests.support.engine_fakes import Engine
from tests.support.responses import NOW, entry
from tests.support.routing import get

AUTHORIZATION = (b"Authorization", b"a")
OTHER_AUTHORIZATION = (b"Authorization", b"b")
COOKIE = (b"Cookie", b"user=1")
OTHER_COOKIE = (b"Cookie", b"user=2")


def flight_key(*lines: FieldLine, **policy: object) -> bytes:
    """The flight's key of a request with these lines."""
    return Engine(**policy).lookup(get(b"/", *lines)).flight_key()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "policy", "are_shared"),
    [
        ([], [], {}, True),
        ([AUTHORIZATION], [AUTHORIZATION], {}, True),
        ([AUTHORIZATION], [OTHER_AUTHORIZATION], {}, False),
        ([AUTHORIZATION], [], {}, False),
        ([AUTHORIZATION], [], {"identity": "shared"}, True),
        ([AUTHORIZATION], [OTHER_AUTHORIZATION], {"identity": {"header": "Authorization"}}, False),
        ([COOKIE], [], {}, False),
        ([COOKIE], [OTHER_COOKIE], {}, True),
        ([COOKIE], [], {"ignore_cookies": True}, True),
        ([COOKIE, AUTHORIZATION], [AUTHORIZATION], {}, False),
        ([COOKIE, AUTHORIZATION], [COOKIE], {}, False),
    ],
)
def test_identities_that_the_key_does_not_tell_apart_never_share_a_flight(
    one: list[FieldLine], other: list[FieldLine], policy: dict[str, object], are_shared: bool
) -> None:
    assert (flight_key(*one, **policy) == flight_key(*other, **policy)) is are_shared


def test_without_identities_the_flight_is_the_entrys() -> None:
    lookup = Engine().lookup(get())
    assert lookup.flight_key() == lookup.entry_key == lookup.key.digest


def test_the_newer_of_two_responses_is_validated() -> None:
    lookup = Engine().lookup(get())
    older, newer = entry(received_at=NOW - 1), entry(received_at=NOW)
    lookup.offer_base(older, Forward.REQUEST)
    lookup.offer_base(newer, Forward.STALE)
    lookup.offer_base(older, Forward.STALE)
    assert (lookup.base, lookup.forward) == (newer, Forward.STALE)


@pytest.mark.parametrize(
    ("record", "forward"), [(None, Forward.URI_MISS), (VaryRecord((b"a",), (), 0.0), Forward.VARY_MISS)]
)
def test_what_was_purged_is_neither_validated_nor_completed(
    record: VaryRecord | None, forward: Forward
) -> None:
    lookup = Engine().lookup(get())
    if record is not None:
        lookup.narrow(record, b"variant")
    lookup.offer_base(entry(), Forward.STALE)
    lookup.offer_part(entry())
    lookup.forget_dead(lambda _: Validity.STALE)
    assert (lookup.base, lookup.part, lookup.forward) == (entry(), entry(), Forward.PARTIAL)
    lookup.forget_dead(lambda _: Validity.DEAD)
    assert (lookup.base, lookup.part, lookup.forward) == (None, None, forward)
