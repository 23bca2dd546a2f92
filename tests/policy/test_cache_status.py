import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import CacheStatus, Forward
from proxy.policy.cache_status import format_cache_status, whole_seconds_left
from proxy.policy.structured_fields import parse_dictionary

MEMBERS = [
    (CacheStatus(), b"sidecache"),
    (CacheStatus(hit=True), b"sidecache; hit"),
    (CacheStatus(hit=True, ttl=41, detail="l1"), b"sidecache; hit; ttl=41; detail=l1"),
    (CacheStatus(hit=True, ttl=-3, detail="l2"), b"sidecache; hit; ttl=-3; detail=l2"),
    (CacheStatus(hit=True, ttl=0), b"sidecache; hit; ttl=0"),
    (CacheStatus(forward=Forward.URI_MISS, stored=True), b"sidecache; fwd=uri-miss; stored"),
    (CacheStatus(forward=Forward.URI_MISS, collapsed=True), b"sidecache; fwd=uri-miss; collapsed"),
    (CacheStatus(forward=Forward.STALE, forward_status=304), b"sidecache; fwd=stale; fwd-status=304"),
    (
        CacheStatus(forward=Forward.STALE, forward_status=503, ttl=-9, detail="stale-if-error"),
        b"sidecache; fwd=stale; fwd-status=503; ttl=-9; detail=stale-if-error",
    ),
    (CacheStatus(forward=Forward.BYPASS, detail="cookie"), b"sidecache; fwd=bypass; detail=cookie"),
    # RFC 9211 §2.2: a hit is not forwarded
    (CacheStatus(hit=True, forward=Forward.STALE), b"sidecache; hit"),
    (CacheStatus(detail="two words"), b'sidecache; detail="two words"'),
    (CacheStatus(detail='a"b\\c'), b'sidecache; detail="a\\"b\\\\c"'),
    (CacheStatus(detail="1st"), b'sidecache; detail="1st"'),
    (CacheStatus(detail=""), b'sidecache; detail=""'),
    (CacheStatus(detail="caf\u00e9\r\nX: y"), b'sidecache; detail="caf???X: y"'),
]


@pytest.mark.parametrize(("status", "member"), MEMBERS)
def test_member(status: CacheStatus, member: bytes) -> None:
    assert format_cache_status(status) == member


@pytest.mark.parametrize("forward", Forward)
def test_every_way_forward_has_its_word(forward: Forward) -> None:
    assert format_cache_status(CacheStatus(forward=forward)) == b"sidecache; fwd=" + forward.value.encode()


@pytest.mark.parametrize(
    ("seconds_left", "is_stale", "ttl"),
    [
        (41.9, False, 41),
        (0.4, False, 0),
        (-0.1, False, -1),
        (-0.1, True, -1),
        (0.0, True, -1),
        (30.0, True, -1),
        (-2.5, True, -3),
    ],
)
def test_what_is_stale_is_negative_from_its_first_moment(seconds_left, is_stale, ttl):
    assert whole_seconds_left(seconds_left, is_stale=is_stale) == ttl


@given(st.text())
def test_any_detail_makes_a_structured_field(detail: str) -> None:
    assert parse_dictionary(format_cache_status(CacheStatus(hit=True, ttl=1, detail=detail))) is not None
