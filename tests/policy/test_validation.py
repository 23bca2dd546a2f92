from typing import Any

import pytest

from proxy.model import (
    FieldLine,
    Fields,
    LifetimeSource,
    Position,
    Reason,
    Request,
    ResponseHead,
    Rule,
    StoredResponse,
)
from proxy.policy.storing import StorePlan, stored
from proxy.policy.validation import agrees, conditional_lines, refreshed, updated_head, without_conditions
from tests.support.responses import NOW, cache_control, date, entry, head, plan_of
from tests.support.routing import get, match_all

LATER = NOW + 50.0
BORN = Position(1, 9, 0, 7)
ETAG, MODIFIED = (b"ETag", b'"abc"'), (b"Last-Modified", date(-5000))


def stored_from(given: ResponseHead, *, born: Position | None = None, **policy: Any) -> StoredResponse:
    planned = plan_of(given, **policy)
    assert isinstance(planned, StorePlan), planned
    return stored(planned, b"body", entry(host=b"shop", target=b"/t"), born=born, fetch_seconds=2.0)


def after_304(
    base: StoredResponse,
    *lines: FieldLine,
    request: Request | None = None,
    profile: str = "safe",
    **policy: Any,
) -> StoredResponse | Reason:
    return refreshed(
        base,
        head((b"Date", date(50)), *lines, status=304, dated=False),
        request or get(),
        match_all(**policy),
        born=BORN,
        requested_at=LATER - 0.5,
        received_at=LATER,
        roll=0.5,
        profile=profile,
    )


def entry_after_304(base: StoredResponse, *lines: FieldLine, **how: Any) -> StoredResponse:
    result = after_304(base, *lines, **how)
    assert isinstance(result, StoredResponse), result
    return result


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ()),
        ({"etag": b'W/"a"'}, ((b"If-None-Match", b'W/"a"'),)),
        ({"last_modified": b"l"}, ((b"If-Modified-Since", b"l"),)),
        ({"etag": b"e", "last_modified": b"l"}, ((b"If-None-Match", b"e"), (b"If-Modified-Since", b"l"))),
    ],
)
def test_condition_names_every_validator(changes: dict[str, Any], lines: tuple[FieldLine, ...]) -> None:
    assert conditional_lines(entry(**changes)) == lines


CONDITIONS = [
    (name, b"x") for name in (b"If-Match", b"if-none-match", b"If-Modified-Since", b"If-Unmodified-Since")
]
RANGE = [(b"Range", b"bytes=0-1"), (b"If-Range", b'"a"')]
OTHERS = [(b"Accept", b"*/*"), (b"If", b"x")]


def test_fetch_for_the_cache_asks_for_the_whole() -> None:
    fields = Fields([*CONDITIONS, *OTHERS, *RANGE])

    assert without_conditions(fields) == Fields(OTHERS)
    assert without_conditions(fields, keep_range=True) == Fields([*OTHERS, *RANGE])


def test_fields_without_conditions_stay_the_same_object() -> None:
    fields = Fields([*OTHERS, *RANGE])

    assert without_conditions(fields, keep_range=True) is fields


UPDATED = [  # 304-etag-update-response-*
    b"Test-Header",
    b"X-Test-Header",
    b"Content-Foo",
    b"Cache-Control",
    b"Content-Location",
    b"Content-Security-Policy",
    b"Content-Type",
    b"Clear-Site-Data",
    b"Expires",
    b"Public-Key-Pins",
    b"Set-Cookie",
    b"X-Frame-Options",
    b"X-XSS-Protection",
    b"Last-Modified",
    b"Date",
]
NOT_UPDATED = [
    b"Content-Encoding",
    b"Content-Length",
    b"Content-MD5",
    b"Content-Range",
    b"Content-Digest",
    b"ETag",
]


@pytest.mark.parametrize("name", UPDATED)
def test_newer_field_takes_the_place_of_the_stored(name: bytes) -> None:
    base = entry(lines=Fields([(name, b"1"), (b"Z", b"z"), (name.upper(), b"2")]).encode())

    head_after = updated_head(base, head((name.lower(), b"3"), (name, b"4"), status=304, dated=False))

    assert head_after == ResponseHead(200, Fields([(b"Z", b"z"), (name.lower(), b"3"), (name, b"4")]), b"OK")


@pytest.mark.parametrize("name", NOT_UPDATED)
def test_field_of_the_stored_body_stays(name: bytes) -> None:
    base = entry(lines=Fields([(name, b"1"), (b"Z", b"z")]).encode())

    assert updated_head(base, head((name, b"2"), dated=False)).fields == base.fields()


def test_field_that_the_304_omits_stays() -> None:  # 304-lm-use-stored-Test-Header
    base = stored_from(cache_control(b"max-age=2", MODIFIED, (b"Test-Header", b"1")))

    after = entry_after_304(base, MODIFIED)

    assert after.fields().values(b"test-header") == [b"1"]
    assert after.fields().values(b"date") == [date(50)]


def test_tag_of_a_304_is_taken_where_there_was_none() -> None:
    assert updated_head(entry(), head(ETAG)).fields.values(b"etag") == [b'"abc"']


def test_freshness_begins_anew_with_the_304s_times() -> None:
    base = stored_from(cache_control(b"max-age=60", ETAG))

    after = entry_after_304(base, ETAG, (b"Cache-Control", b"max-age=100, no-cache"), (b"Age", b"7"))

    assert (after.received_at, after.initial_age, after.lifetime) == (LATER, 7.5, 100.0)
    assert after.rules == Rule.NO_CACHE
    assert after.expires_at == LATER - 7.5 + 100 + 600
    assert (after.born, after.fetch_seconds) == (BORN, 0.5)
    assert (after.body, after.host, after.target, after.etag) == (b"body", b"shop", b"/t", b'"abc"')
    assert b"Age" not in after.lines


def test_lifetime_of_the_route_is_given_again() -> None:
    base = stored_from(head(ETAG), ttl=60)

    after = entry_after_304(base, ETAG, ttl=10)

    assert (after.lifetime, after.source) == (10.0, LifetimeSource.ROUTE)


def test_304_to_head_refreshes_too() -> None:
    assert (
        entry_after_304(stored_from(cache_control(b"max-age=60", ETAG)), request=get(method="HEAD")).age(
            LATER
        )
        == 0.5
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ((b"Cache-Control", b"no-store"), Reason.NO_STORE),
        ((b"Cache-Control", b"private"), Reason.PRIVATE),
        ((b"Set-Cookie", b"a=b"), Reason.SET_COOKIE),
        ((b"Vary", b"*"), Reason.VARY_STAR),
    ],
)
def test_304_may_forbid_to_keep_the_entry(line: FieldLine, reason: Reason) -> None:
    assert after_304(stored_from(cache_control(b"max-age=60", ETAG)), ETAG, line) is reason


def test_cookie_of_a_304_is_stored_to_the_letter() -> None:  # 304-etag-update-response-Set-Cookie
    base = stored_from(cache_control(b"max-age=60", ETAG, (b"Set-Cookie", b"a=b")), profile="rfc9111")

    after = entry_after_304(base, ETAG, (b"Set-Cookie", b"a=c"), profile="rfc9111")

    assert after.fields().values(b"set-cookie") == [b"a=c"]


ABOUT: list[tuple[list[FieldLine], list[FieldLine]]] = [
    ([ETAG], [ETAG]),
    ([ETAG], []),
    ([MODIFIED], []),
    ([MODIFIED], [MODIFIED]),
    ([MODIFIED], [ETAG]),
    ([MODIFIED], [(b"Last-Modified", b"foo")]),
    ([ETAG], [MODIFIED]),
    ([ETAG, MODIFIED], [ETAG, (b"Last-Modified", date(-1))]),
    ([(b"ETag", b'W/"abc"')], [(b"ETag", b'W/"abc"')]),
    ([(b"ETag", b'W/"abc"')], [ETAG]),
    ([ETAG], [(b"ETag", b'W/"abc"')]),
]


@pytest.mark.parametrize(("of_the_stored", "of_the_304"), ABOUT)
def test_304_that_is_about_the_stored_response_updates_it(
    of_the_stored: list[FieldLine], of_the_304: list[FieldLine]
) -> None:
    base = stored_from(cache_control(b"max-age=60", *of_the_stored))

    after = entry_after_304(base, *of_the_304, (b"A", b"new"))

    assert after.fields().values(b"a") == [b"new"]
    assert after.etag == (base.etag or Fields(of_the_304).first(b"etag"))


OTHER_TAG, OTHER_DATE = (b"ETag", b'"other"'), (b"Last-Modified", date(-1))


@pytest.mark.parametrize(
    ("of_the_stored", "of_the_304"),
    [
        ([MODIFIED], [OTHER_DATE]),
        ([ETAG, MODIFIED], [OTHER_TAG]),
        ([ETAG, MODIFIED], [OTHER_TAG, MODIFIED]),
        ([ETAG, MODIFIED], [OTHER_DATE]),
    ],
)
def test_304_about_another_representation_proves_nothing(
    of_the_stored: list[FieldLine], of_the_304: list[FieldLine]
) -> None:
    base = stored_from(cache_control(b"max-age=60", *of_the_stored))

    assert after_304(base, *of_the_304) is Reason.OTHER_REPRESENTATION


def test_304_to_a_tag_alone_confirms_it_but_updates_nothing() -> None:  # 304-etag-update-response-ETag
    base = stored_from(cache_control(b"max-age=60", ETAG, (b"A", b"old"), (b"xkey", b"t")))

    after = entry_after_304(base, OTHER_TAG, (b"A", b"new"), (b"Cache-Control", b"max-age=9000"))

    assert (after.lines, after.etag, after.lifetime, after.tags) == (base.lines, b'"abc"', 60.0, (b"t",))
    assert (after.received_at, after.initial_age, after.born) == (LATER, 0.5, BORN)
    assert after.expires_at == base.expires_at + 49.5


def test_what_a_304_confirms_is_as_old_as_that() -> None:
    base = stored_from(cache_control(b"max-age=60", ETAG))

    assert entry_after_304(base, OTHER_TAG, (b"Age", b"7")).initial_age == 7.5


@pytest.mark.parametrize(
    ("of_the_304", "tags"),
    [
        ([], (b"a", b"b", b"g")),
        ([(b"xkey", b"c")], (b"c", b"g")),
        ([(b"Surrogate-Key", b"")], (b"g",)),
        ([(b"Cache-Groups", b'"h"')], (b"a", b"b", b"g", b"h")),
    ],
)
def test_tags_stay_until_the_origin_names_others(
    of_the_304: list[FieldLine], tags: tuple[bytes, ...]
) -> None:
    base = stored_from(cache_control(b"max-age=60", ETAG, (b"xkey", b"a b"), (b"Cache-Groups", b'"g"')))

    kept = entry_after_304(base, *of_the_304).tags
    assert tuple(tag for tag in kept if b"\n" not in tag) == tags
    assert {tag for tag in kept if b"\n" in tag} == {b"http://shop\n" + tag for tag in tags if tag in b"gh"}


AGREEING: list[tuple[list[FieldLine], int | None, bool]] = [
    ([], None, True),
    ([], 4, True),
    ([], 5, False),
    ([ETAG], 4, True),
    ([ETAG, MODIFIED], None, True),
    ([(b"ETag", b'"other"')], 4, False),
    ([ETAG, (b"Last-Modified", date(-4999))], None, False),
]


@pytest.mark.parametrize(("lines", "length", "holds"), AGREEING)
def test_head_agrees(lines: list[FieldLine], length: int | None, holds: bool) -> None:  # head-200-update
    stored_with = entry(etag=ETAG[1], last_modified=MODIFIED[1])

    assert agrees(stored_with, head(*lines), length) is holds


@pytest.mark.parametrize("line", [ETAG, MODIFIED])
def test_a_validator_that_was_not_stored_is_another_one(line: FieldLine) -> None:
    assert not agrees(entry(), head(line), None)


@pytest.mark.parametrize(("status", "stored_status"), [(404, 200), (200, 404), (404, 404)])
def test_only_a_success_agrees_with_one(status: int, stored_status: int) -> None:
    assert not agrees(entry(status=stored_status), head(status=status), None)
