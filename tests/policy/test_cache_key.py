from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.model import FieldLine, Fields, Request, VaryRecord
from proxy.policy.cache_key import (
    CacheKey,
    _keyed_fields,
    _part,
    derive_secret,
    keyed_target,
    language_key,
    make_key,
    selected_variant,
    variant_key,
)
from tests.support.routing import SECRET, get, route_of, routes_of

KEYED = {
    "key": {
        "query": {"include": ["page", "a b"]},
        "headers": ["X-A", "X-B"],
        "cookies": ["c", "d"],
    }
}
"""A policy that keys on something of every kind."""

Line = tuple[bytes, bytes]


def key(request: Request, **policy: Any) -> CacheKey:
    return make_key(request, route_of(**policy), secret=SECRET)


# Which requests share a key: (policy, request, other request)
SHARED = [
    ({}, get(b"/p"), get(b"/p", method="HEAD")),
    ({}, get(b"/p"), get(b"/p", (b"X-Forwarded-For", b"1.2.3.4"))),
    ({}, get(b"/p"), get(b"/p", (b"Cookie", b"c=1"), (b"Authorization", b"x"), (b"X-A", b"1"))),
    ({}, get(b"/p"), get(b"/p", version=(1, 0), peer="10.0.0.1")),
    (KEYED, get(b"/p", (b"X-A", b"1")), get(b"/p", (b"x-a", b"1"))),
    (KEYED, get(b"/p", (b"Cookie", b"c=1; x=2")), get(b"/p", (b"Cookie", b"y=3;c=1"))),
    (KEYED, get(b"/p?page=1"), get(b"/p?page=1&utm=2")),
    (KEYED, get(b"/p?page=1"), get(b"/p?utm=2&page=1")),
    (KEYED, get(b"/p"), get(b"/p?utm=2")),
    ({"identity": "shared"}, get(b"/p", (b"Authorization", b"1")), get(b"/p", (b"Authorization", b"2"))),
]
# Which requests must not: P1-P5, P11, V1, V6
APART = [
    ({}, get(b"/p"), get(b"/P")),
    ({}, get(b"/p"), get(b"/%70")),
    ({}, get(b"/p"), get(b"/p?")),
    ({}, get(b"/p?a=1&b=2"), get(b"/p?b=2&a=1")),
    ({}, get(b"/p?a=1"), get(b"/p?%61=1")),
    ({}, get(b"/p?a=1"), get(b"/p?a=1&a=2")),
    ({}, get(b"/p?a=+"), get(b"/p?a=%20")),
    ({}, get(b"/p"), get(b"/p", host=b"other")),
    ({}, get(b"/p"), get(b"/p", host=b"shop:8080")),
    ({}, get(b"/p"), get(b"/p", scheme=b"https")),
    ({}, get(b"/p"), get(b"/p", (b"X-Forwarded-Host", b"evil"))),
    ({}, get(b"/p"), get(b"/p", (b"X-Forwarded-Host", b""))),
    ({}, get(b"/p"), get(b"/p", (b"X_Forwarded_Host", b"evil"))),
    ({}, get(b"/p", (b"X-Host", b"evil")), get(b"/p", (b"X-Forwarded-Host", b"evil"))),
    ({}, get(b"/p"), get(b"/p", (b"X-HTTP-Method-Override", b"DELETE"))),
    ({}, get(b"/p", (b"Forwarded", b"a"), (b"Forwarded", b"b")), get(b"/p", (b"Forwarded", b"a, b"))),
    (KEYED, get(b"/p"), get(b"/p", (b"X-A", b""))),
    (KEYED, get(b"/p", (b"X-A", b"1")), get(b"/p", (b"X-B", b"1"))),
    (KEYED, get(b"/p", (b"X-A", b"1")), get(b"/p", (b"X-A", b"1"), (b"X_A", b"2"))),
    (KEYED, get(b"/p", (b"X-A", b"1"), (b"X-A", b"2")), get(b"/p", (b"X-A", b"2"), (b"X-A", b"1"))),
    (KEYED, get(b"/p", (b"X-A", b"1"), (b"X-A", b"2")), get(b"/p", (b"X-A", b"1, 2"))),
    (KEYED, get(b"/p", (b"X-A", b"1:1")), get(b"/p", (b"X-A", b"1"), (b"X-A", b"1"))),
    (KEYED, get(b"/p"), get(b"/p", (b"Cookie", b"c="))),
    (KEYED, get(b"/p", (b"Cookie", b"c")), get(b"/p", (b"Cookie", b"c="))),
    (KEYED, get(b"/p", (b"Cookie", b"c=1")), get(b"/p", (b"Cookie", b"d=1"))),
    (KEYED, get(b"/p", (b"Cookie", b"c=1; c=2")), get(b"/p", (b"Cookie", b"c=1"))),
    (KEYED, get(b"/p", (b"Cookie", b'c="1; x=2"')), get(b"/p", (b"Cookie", b'c="1; x=3"'))),
    (KEYED, get(b"/p?page=1"), get(b"/p?page=1&page=2")),
    (KEYED, get(b"/p?page=1"), get(b"/p?%70age=1")),
    (KEYED, get(b"/p?page=1"), get(b"/p?page=1&utm=x;page=evil")),
    ({"identity": {"header": "Authorization"}}, get(b"/p"), get(b"/p", (b"Authorization", b"x"))),
    ({"identity": {"cookie": "sid"}}, get(b"/p", (b"Cookie", b"sid=1")), get(b"/p", (b"Cookie", b"sid=2"))),
]


@pytest.mark.parametrize(("policy", "request_", "other"), SHARED)
def test_requests_that_may_share_an_answer_share_a_key(
    policy: dict[str, Any], request_: Request, other: Request
) -> None:
    assert key(request_, **policy).digest == key(other, **policy).digest


@pytest.mark.parametrize(("policy", "request_", "other"), APART)
def test_requests_that_may_not_share_an_answer_have_their_own_keys(
    policy: dict[str, Any], request_: Request, other: Request
) -> None:
    assert key(request_, **policy).digest != key(other, **policy).digest


def test_key_tells_what_went_into_it() -> None:
    made = key(get(b"/p?page=1&utm=2", host=b"a:81"), **KEYED)

    assert (made.host, made.target, made.forward_target) == (b"a:81", b"/p?page=1", b"/p?page=1&utm=2")
    assert len(made.digest) == 16


def test_keyed_forwarding_sends_only_what_is_keyed() -> None:
    policy = {"key": {"query": {"include": ["page"], "forward": "keyed"}}}
    made = key(get(b"/%7Ep?utm=2&page=%31&&page=2"), **policy)

    assert made.target == made.forward_target == b"/%7Ep?page=%31&page=2"


def test_routes_of_different_shape_never_share_a_key() -> None:
    digests = {key(get(b"/p"), **policy).digest for policy in ({}, KEYED, {"identity": "shared"})}

    assert len(digests) == 3


def test_routes_that_differ_only_in_lifetimes_share_their_keys() -> None:
    assert key(get(b"/p"), ttl="1s").digest == key(get(b"/p"), ttl="9s").digest


def test_digest_depends_on_the_secret() -> None:
    route = route_of()
    digests = {make_key(get(b"/p"), route, secret=secret).digest for secret in (b"", b"a", SECRET)}

    assert len(digests) == 3


def test_any_text_makes_a_secret_that_keys_hashes() -> None:
    assert len(derive_secret("")) == len(derive_secret("x" * 10_000)) == 32
    assert derive_secret("a") == derive_secret("a") != derive_secret("b")


def test_variants_are_apart_from_primary_keys_and_each_other() -> None:
    primary = key(get(b"/p")).digest
    fields = Fields([(b"A", b"1")])
    keys = [
        primary,
        variant_key(primary, (), fields, secret=SECRET),
        variant_key(primary, (b"a",), fields, secret=SECRET),
        variant_key(primary, (b"a",), Fields(), secret=SECRET),
        variant_key(primary, (b"a",), Fields([(b"A", b"")]), secret=SECRET),
        variant_key(primary, (b"b",), fields, secret=SECRET),
        variant_key(primary, (b"a", b"b"), fields, secret=SECRET),
        variant_key(primary, (b"a", b"b"), Fields([(b"B", b"1")]), secret=SECRET),
        variant_key(primary[::-1], (b"a",), fields, secret=SECRET),
        variant_key(primary, (b"a",), fields, secret=b"other"),
    ]

    assert len(set(keys)) == len(keys)
    assert {len(one) for one in keys} == {16}


def test_variant_does_not_depend_on_the_order_of_names() -> None:
    fields = Fields([(b"A", b"1"), (b"B", b"2")])

    assert variant_key(b"p", (b"a", b"b"), fields, secret=SECRET) == variant_key(
        b"p", (b"b", b"a"), fields, secret=SECRET
    )


TARGETS = [
    (None, b"/p?b=1&a=2", b"/p?b=1&a=2"),
    (None, b"/p?", b"/p?"),
    ([], b"/p", b"/p"),
    ([], b"/p?", b"/p?"),
    ([], b"/p?a=1", b"/p"),
    ([], b"/p?a;b", b"/p?a;b"),
    (["a"], b"/p?a=1", b"/p?a=1"),
    (["a"], b"/p?b=1&a=1", b"/p?a=1"),
    (["a", "b"], b"/p?b=1&a=1", b"/p?b=1&a=1"),
    (["a"], b"/p?a=1&b&a=2&a", b"/p?a=1&a=2&a"),
    (["a"], b"/p?a", b"/p?a"),
    (["a"], b"/p?a=", b"/p?a="),
    (["a"], b"/p?A=1", b"/p"),
    (["a"], b"/p?aa=1", b"/p"),
    (["a"], b"/p?%61=%26", b"/p?%61=%26"),
    (["a b"], b"/p?a+b=1&a%20b=2&a%2Bb=3", b"/p?a+b=1&a%20b=2"),
    (["a+b"], b"/p?a+b=1&a%2Bb=3", b"/p?a%2Bb=3"),
    (["\u00e9"], b"/p?%c3%a9=1&%e9=2", b"/p?%c3%a9=1"),
    (["a"], b"/p?b=1;a=2&c", b"/p?b=1;a=2"),
    (["a"], b"/p?b=%3Ba=2", b"/p"),
    (["a"], b"/p?a=1?b&b=?", b"/p?a=1?b"),
    (["%zz"], b"/p?%zz=1", b"/p?%zz=1"),
    ([""], b"/p?&a", b"/p?"),
]


@pytest.mark.parametrize(("include", "target", "expected"), TARGETS)
def test_target_is_keyed_by_the_parameters_listed(
    include: list[str] | None, target: bytes, expected: bytes
) -> None:
    assert keyed_target(route_of(key={"query": {"include": include}}), target) == expected


@given(st.lists(st.sampled_from(["a", "b", "a b", "+", ""])), st.text("ab=&;+%2601", max_size=24))
def test_keyed_query_agrees_with_reading_it_slowly(include: list[str], query: str) -> None:
    route = route_of(key={"query": {"include": include}})
    kept: list[str] = []
    for parameter in query.split("&"):
        name, *_ = parameter.split("=")
        if unquote_plus(name, "latin-1") in include or ";" in parameter:
            kept.append(parameter)

    keyed = keyed_target(route, b"/p?" + query.encode())

    assert keyed == (f"/p?{'&'.join(kept)}" if kept or not query else "/p").encode()
    assert keyed_target(route, keyed) == keyed


class Keyed(NamedTuple):
    """What a request is told apart by, as the policy KEYED has it."""

    scheme: bytes
    host: bytes
    target: bytes
    headers: tuple[tuple[bytes, ...], ...]
    cookies: tuple[tuple[bytes, ...], ...]
    overrides: tuple[tuple[bytes, tuple[bytes, ...]], ...]


class Reader:
    """Reads an encoding back, knowing only the route's shape and how many fields and cookies it keys on."""

    def __init__(self, encoded: bytes) -> None:
        self._rest = encoded

    def number(self, end: bytes) -> int:
        digits, _, self._rest = self._rest.partition(end)
        return int(digits)

    def take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def part(self) -> bytes:
        return self.take(self.number(b":"))

    def list(self) -> tuple[bytes, ...]:
        return tuple(self.part() for _ in range(self.number(b";")))

    def keyed(self) -> Keyed:
        self.take(16)
        scheme, host, target = self.part(), self.part(), self.part()
        headers = (self.list(), self.list())
        cookies = (self.list(), self.list()) if self.take(1) == b"=" else (self.list(),)
        overrides = []
        while self._rest:
            overrides.append((self.part(), self.list()))
        return Keyed(scheme, host, target, headers, cookies, tuple(overrides))


def encoded(request: Request) -> bytes:
    """What the key of a request is the digest of, under a policy that keys on something of every kind."""
    route = route_of(**KEYED)
    made = make_key(request, route, secret=SECRET)
    parts = (request.scheme, request.host, made.target)
    whole = route.shape + b"".join(map(_part, parts)) + _keyed_fields(request.fields, route.recipe)
    assert made.digest == blake2b(whole, digest_size=16, key=SECRET, person=b"sidecache-key-01").digest()
    return whole


HOSTILE = st.text("1:;=, a", max_size=6).map(str.encode)
LINES = st.lists(
    st.tuples(st.sampled_from([b"X-A", b"x-b", b"X_A", b"Forwarded", b"X-Host", b"X-C"]), HOSTILE), max_size=5
)
COOKIES = st.lists(
    st.tuples(st.sampled_from([b"c", b"d", b"e"]), st.text("1:= a").map(str.encode)), max_size=4
)


@given(HOSTILE, HOSTILE, HOSTILE, LINES, COOKIES)
def test_every_keyed_part_can_be_read_back_from_the_encoding(
    scheme: bytes, host: bytes, path: bytes, lines: list[Line], cookies: list[Line]
) -> None:
    # What can be read back is injective: two requests with other parts have other encodings.
    texts = [(name, name + b"=" + value.strip()) for name, value in cookies]
    cookie_line = (b"Cookie", b"; ".join(text for _, text in texts))
    request = get(b"/" + path, cookie_line, *lines, scheme=scheme, host=host)
    fields = request.fields

    assert Reader(encoded(request)).keyed() == Keyed(
        scheme,
        host,
        request.target,
        (tuple(fields.values(b"x-a")), tuple(fields.values(b"x-b"))),
        tuple(tuple(text for name, text in texts if name == keyed) for keyed in (b"c", b"d")),
        tuple(
            (name, tuple(fields.values(name))) for name in (b"forwarded", b"x-host", b"x_a") if name in fields
        ),
    )


def test_ambiguous_cookies_are_keyed_as_they_came() -> None:
    request = get(b"/", (b"Cookie", b'c="1;d=2'), (b"Cookie", b"e=3"))

    assert Reader(encoded(request)).keyed().cookies == ((b'c="1;d=2', b"e=3"),)


def test_no_value_of_a_secret_is_in_the_key() -> None:
    request = get(b"/p", (b"Authorization", b"Bearer token"))

    made = key(request, identity={"header": "Authorization"})

    assert b"token" not in b"".join((made.digest, made.host, made.target, made.forward_target))


def test_unmatched_requests_are_keyed_by_the_defaults() -> None:
    routes = routes_of(defaults={"key": {"headers": ["X-A"]}})
    requests = [get(b"/p", (b"X-A", value)) for value in (b"1", b"2")]
    digests = {make_key(one, routes.match(one).route, secret=SECRET).digest for one in requests}

    assert len(digests) == 2


DIGEST = b"p" * 16
BY_LANGUAGE = (b"accept-language", b"foo")


def variant_of(language: bytes, foo: bytes = b"1") -> bytes:
    return variant_key(DIGEST, BY_LANGUAGE, asking(language, foo), secret=SECRET)


def asking(language: bytes, foo: bytes = b"1") -> Fields:
    return Fields([(b"Accept-Language", language), (b"Foo", foo)])


GERMAN = VaryRecord(BY_LANGUAGE, (variant_of(b"en, de"),), 0.0, ((variant_of(b"de"), variant_of(b"en, de")),))
"""A German answer is stored for `en, de`."""

SELECTED: list[tuple[bytes, bytes, bytes]] = [
    (b"en, de", b"1", variant_of(b"en, de")),
    (b"fr;q=0.5, de;q=1.0", b"1", variant_of(b"en, de")),  # vary-normalise-lang-select
    (b"DE", b"1", variant_of(b"en, de")),
    (b"de, fr", b"1", variant_of(b"de, fr")),
    (b"fr, de;q=0.5", b"1", variant_of(b"fr, de;q=0.5")),
    (b"de-at, de;q=0.9", b"1", variant_of(b"de-at, de;q=0.9")),
    (b"fr;q=0.5, de", b"2", variant_of(b"fr;q=0.5, de", b"2")),
    (b"", b"1", variant_of(b"")),
]


@pytest.mark.parametrize(("language", "foo", "key"), SELECTED)
def test_a_variant_in_the_language_wanted_most_is_selected(language: bytes, foo: bytes, key: bytes) -> None:
    assert selected_variant(DIGEST, GERMAN, asking(language, foo), secret=SECRET) == key


def test_a_variant_of_its_own_goes_before_one_by_language() -> None:
    own = variant_of(b"fr;q=0.5, de")
    record = replace(GERMAN, variants=(*GERMAN.variants, own))

    assert selected_variant(DIGEST, record, asking(b"fr;q=0.5, de"), secret=SECRET) == own


@pytest.mark.parametrize(
    ("names", "answered", "key"),
    [
        (BY_LANGUAGE, [(b"Content-Language", b"DE")], variant_of(b"de")),
        (BY_LANGUAGE, [(b"Content-Language", b"de, en")], None),
        (BY_LANGUAGE, [], None),
        ((b"foo",), [(b"Content-Language", b"de")], None),
    ],
)
def test_the_key_of_the_answers_language(
    names: tuple[bytes, ...], answered: list[FieldLine], key: bytes | None
) -> None:
    assert language_key(DIGEST, names, asking(b"en, de"), Fields(answered), secret=SECRET) == key
