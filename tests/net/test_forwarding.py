from __future__ import annotations

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from proxy.config.schema import Forwarded
from proxy.model import Cut, FieldLine, Fields, Request, ResponseHead
from proxy.net import forwarding as forwarding_module
from proxy.net.forwarding import (
    HOP_BY_HOP,
    MOST_CUTS,
    MOST_OPTION_BYTES,
    RequestForwarding,
    interim_head,
    nominated,
    response_fields,
    response_head,
    response_lines,
)
from proxy.net.line_form import LineForm
from proxy.net.response_head import ReceivedHead
from proxy.policy.tags import OUR_FIELDS
from tests.support.origin_clients import GivenBody, request

PLAIN = {"via": False, "for": "pass"}
HOST: FieldLine = (b"Host", b"shop.example")


def forwarded_lines(given: Request, *, host: str = "preserve", **forwarded: object) -> list[FieldLine]:
    config = Forwarded.model_validate({**PLAIN, **forwarded})
    forwarding = RequestForwarding(config, host=host, authority=b"127.0.0.1:8000", keyed={b"x-tenant"})
    return list(forwarding.fields(given).lines)


def test_bytes_order_case_and_duplicates_are_kept() -> None:
    lines = [(b"X-B", b"caf\xe9"), (b"x-a", b"1"), (b"X-B", b"2"), (b"COOKIE", b"a=b"), (b"Cookie", b"c=d")]

    assert forwarded_lines(request("GET", b"/", *lines)) == [HOST, *lines]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP | {b"expect", b"content-length"}))
def test_what_is_for_one_connection_only_stays_here(name: bytes) -> None:
    given = request("DELETE", b"/", (name.title(), b"x"), (b"A", b"b"))
    kept = [line for line in forwarded_lines(given) if line != (b"Content-Length", b"0")]

    assert kept == [HOST, (b"A", b"b")]


@pytest.mark.parametrize("name", [b"Keep-Alive", b"X-Hop", b"Surrogate-Hop"])
def test_connection_removes_what_it_nominates(name: bytes) -> None:
    given = request("GET", b"/", (b"Connection", b"close, " + name.lower()), (name, b"x"))

    assert forwarded_lines(given) == [HOST]


END_TO_END_NAMES = [
    b"Authorization",
    b"Cookie",
    b"Cache-Control",
    b"X-Forwarded-For",
    b"X-Forwarded-Anything",
    b"Forwarded",
    b"Via",
    b"If-None-Match",
    b"If-Match",
    b"Range",
    b"X-Tenant",
]


@pytest.mark.parametrize("name", END_TO_END_NAMES)
def test_connection_cannot_remove_what_the_origin_must_see(name: bytes) -> None:
    given = request("GET", b"/", (b"Connection", name), (name, b"x"))

    assert forwarded_lines(given) == [HOST, (name, b"x")]


def test_connection_cannot_remove_host_or_the_length() -> None:
    given = request("POST", b"/", (b"Connection", b"host, content-length"), body=GivenBody(length=3))

    assert forwarded_lines(given) == [HOST, (b"Content-Length", b"3")]


def test_nominations_are_read_from_all_lines() -> None:
    fields = Fields([(b"Connection", b"close"), (b"connection", b"X-One ,x-two"), (b"CONNECTION", b"cookie")])

    options = fields.combined(b"connection")

    assert nominated(options) == {b"close", b"x-one", b"x-two"}
    assert nominated(options, {b"x-one"}) == {b"close", b"x-two"}
    assert nominated(None) == frozenset()


@pytest.mark.parametrize(
    ("mode", "peer", "expected"),
    [
        ("append", "10.0.0.9", [b"a, b, 10.0.0.9"]),
        ("append", "", [b"a, b"]),
        ("set", "2001:db8::1", [b"2001:db8::1"]),
        ("set", "", []),
        ("pass", "10.0.0.9", [b"a", b"b"]),
        ("remove", "10.0.0.9", []),
    ],
)
def test_x_forwarded_for(mode: str, peer: str, expected: list[bytes]) -> None:
    given = request("GET", b"/", (b"X-Forwarded-For", b"a"), (b"x-forwarded-for", b"b"), peer=peer)
    fields = Fields(forwarded_lines(given, **{"for": mode}))

    assert fields.values(b"x-forwarded-for") == expected


@pytest.mark.parametrize(("mode", "expected"), [("pass", b"p"), ("set", b"https"), ("remove", None)])
def test_x_forwarded_proto(mode: str, expected: bytes | None) -> None:
    given = request("GET", b"/", (b"X-Forwarded-Proto", b"p"), scheme=b"https")

    assert Fields(forwarded_lines(given, proto=mode)).first(b"x-forwarded-proto") == expected


@pytest.mark.parametrize(("mode", "expected"), [("pass", b"h"), ("set", b"shop.example"), ("remove", None)])
def test_x_forwarded_host(mode: str, expected: bytes | None) -> None:
    given = request("GET", b"/", (b"X-Forwarded-Host", b"h"))

    assert Fields(forwarded_lines(given, host="origin.internal", **{"for": "pass"})).first(b"host") == (
        b"origin.internal"
    )
    config = Forwarded.model_validate({**PLAIN, "host": mode})
    fields = RequestForwarding(config, host="origin.internal", authority=b"x").fields(given)
    assert fields.first(b"x-forwarded-host") == expected


def test_host_is_the_clients_or_a_fixed_name_or_the_origins_own() -> None:
    without = Request("GET", b"/", Fields(), version=(1, 0))

    assert forwarded_lines(request()) == [HOST]
    assert forwarded_lines(request(), host="api") == [(b"Host", b"api")]
    assert forwarded_lines(without) == [(b"Host", b"127.0.0.1:8000")]


@pytest.mark.parametrize(("version", "expected"), [((1, 1), b"1.1 sidecache"), ((1, 0), b"1.0 sidecache")])
def test_via_names_the_protocol_that_the_request_came_with(version: tuple[int, int], expected: bytes) -> None:
    given = request("GET", b"/", (b"Via", b"1.1 edge"), version=version)

    assert Fields(forwarded_lines(given, via=True)).values(b"via") == [b"1.1 edge", expected]


@pytest.mark.parametrize(
    ("method", "body", "received", "expected"),
    [
        ("GET", None, [], []),
        ("GET", None, [(b"Content-Length", b"0")], [(b"Content-Length", b"0")]),
        ("POST", None, [], [(b"Content-Length", b"0")]),
        ("DELETE", None, [], []),
        ("POST", GivenBody(length=7), [(b"Content-Length", b"7")], [(b"Content-Length", b"7")]),
        ("POST", GivenBody(), [(b"Transfer-Encoding", b"chunked")], [(b"Transfer-Encoding", b"chunked")]),
        ("GET", GivenBody(length=1), [], [(b"Content-Length", b"1")]),
    ],
)
def test_the_framing_is_written_anew(
    method: str, body: GivenBody | None, received: list[FieldLine], expected: list[FieldLine]
) -> None:
    assert forwarded_lines(request(method, b"/", *received, body=body)) == [HOST, *expected]


def test_an_upgrade_is_asked_for_in_our_own_words() -> None:
    lines = [(b"connection", b"keep-alive, upgrade, x-hop"), (b"X-Hop", b"1"), (b"upgrade", b"websocket")]
    given = request("GET", b"/", *lines, upgrade=True)

    assert forwarded_lines(given) == [HOST, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]


def received(status: int, *lines: FieldLine, is_http_10: bool = False) -> ReceivedHead:
    return ReceivedHead(status, b"X", Fields(lines), is_http_10)


DATE: FieldLine = (b"Date", b"Thu, 01 Jan 1970 00:00:01 GMT")


def test_a_response_keeps_its_fields_and_loses_framing_and_hop_by_hop() -> None:
    lines = [(b"set-cookie", b"a=\xe9"), (b"Set-Cookie", b"b"), DATE, (b"Age", b"3")]
    gone = [(b"Content-Length", b"3"), (b"Transfer-Encoding", b"x"), (b"Upgrade", b"h2c"), (b"Trailer", b"x")]
    more = [(b"Connection", b"close, x-hop, cache-control"), (b"X-Hop", b"1"), (b"Keep-Alive", b"timeout=5")]
    head = received(200, *lines, *gone, *more, (b"Cache-Control", b"private"))

    assert response_head(head, via=False, now=0) == ResponseHead(
        200, Fields([*lines, (b"Cache-Control", b"private")]), b"X"
    )


def test_a_missing_date_is_added() -> None:
    assert response_head(received(200), via=False, now=1.9) == ResponseHead(200, Fields([DATE]), b"X")


@pytest.mark.parametrize(("is_http_10", "expected"), [(False, b"1.1 sidecache"), (True, b"1.0 sidecache")])
def test_a_response_says_which_way_it_came(is_http_10: bool, expected: bytes) -> None:
    head = response_head(received(200, DATE, is_http_10=is_http_10), via=True, now=0)

    assert head.fields == Fields([DATE, (b"Via", expected)])


def test_a_101_still_says_what_it_switches_to() -> None:
    head = received(101, DATE, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))

    assert response_head(head, via=False, now=0).fields == Fields([DATE, (b"Upgrade", b"websocket")])


def test_an_interim_head_gets_nothing_added() -> None:
    head = received(103, (b"Link", b"</a>"), (b"Connection", b"close"), (b"Content-Length", b"3"))

    assert interim_head(head) == ResponseHead(103, Fields([(b"Link", b"</a>")]), b"X")


def test_connection_nominates_only_what_is_not_dropped_anyhow() -> None:
    fields = Fields([(b"Connection", b"Keep-Alive, close, X-Private, TE")])

    assert nominated(fields.combined(b"connection")) == {b"close", b"x-private"}


NAMES = [b"Host", b"Via", b"X-Hop", b"Date", b"Upgrade", b"X-Forwarded-For", b"Content-Length", b"X-Tenant"]
OPTIONS = st.sampled_from(
    [b"close", b"keep-alive", b"x-hop", b"upgrade, x-hop, x-tenant, date", b"", b"host"]
)
LINES = st.one_of(
    st.lists(
        st.tuples(st.sampled_from([*NAMES, b"x-hop", b"host"]), st.sampled_from([b"", b"a", b"b"]))
        | st.tuples(st.just(b"Connection"), OPTIONS),
        max_size=4,
    ),
    # The same names again and again, of which Connection says now this and now that.
    OPTIONS.map(lambda options: [(b"Connection", options), (b"X-Hop", b"a"), (b"X-Tenant", b"b")]),
)
BODIES = st.sampled_from([None, GivenBody(), GivenBody(length=3), GivenBody(length=1234)])
REQUESTS = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST"]),
    target=st.just(b"/"),
    fields=LINES.map(Fields),
    scheme=st.sampled_from([b"http", b"https"]),
    version=st.sampled_from([(1, 0), (1, 1)]),
    peer=st.sampled_from(["", "10.0.0.9", "::1"]),
    body=BODIES,
    upgrade=st.booleans(),
)
CONFIGS = st.builds(
    lambda modes, via: Forwarded.model_validate(
        {**dict(zip(("for", "host", "proto"), modes, strict=True)), "via": via}
    ),
    st.sampled_from(
        [
            ("append", "set", "set"),
            ("set", "pass", "set"),
            ("pass", "set", "pass"),
            ("remove", "remove", "remove"),
        ]
    ),
    st.booleans(),
)


def seen_by_origin(forwarding: RequestForwarding, requests: list[Request]) -> list[tuple[FieldLine, ...]]:
    return [forwarding.fields(each).lines for each in requests]


@settings(max_examples=300)
@drawn(st.lists(REQUESTS, min_size=2, max_size=12), CONFIGS, st.sampled_from(["preserve", "api"]))
def test_what_is_known_of_earlier_requests_changes_nothing(
    requests: list[Request], config: Forwarded, host: str
) -> None:
    def fresh() -> RequestForwarding:
        return RequestForwarding(config, host=host, authority=b"o", keyed={b"x-tenant"})

    told = [line for each in requests for line in seen_by_origin(fresh(), [each])]

    assert seen_by_origin(fresh(), [*requests, *requests]) == [*told, *told]


@settings(max_examples=300)
@drawn(
    st.lists(st.tuples(LINES, st.sampled_from([101, 200, 404]), st.booleans(), st.booleans()), max_size=12)
)
def test_what_is_known_of_earlier_responses_changes_nothing(
    heads: list[tuple[list[FieldLine], int, bool, bool]],
) -> None:
    def told(*, forgets: bool) -> list[ResponseHead]:
        said = []
        for lines, status, is_http_10, via in heads:
            if forgets:
                forwarding_module._cuts_of_responses.clear()
            said.append(response_head(received(status, *lines, is_http_10=is_http_10), via=via, now=7))
        return said

    assert told(forgets=False) == told(forgets=True) == told(forgets=False)


ONCE = LINES.map(lambda lines: list({name.lower(): (name, value) for name, value in lines}.values()))
"""Each name once, as in the heads that are forwarded without being taken apart."""


@settings(max_examples=300)
@drawn(
    st.lists(
        st.tuples(
            ONCE.map(lambda lines: [line for line in lines if line[0].lower() != b"content-length"]),
            st.sampled_from(["", "10.0.0.9", "::1"]),
            st.sampled_from([0, 3, 1234]),
        ),
        max_size=6,
    ),
    CONFIGS,
    st.sampled_from(["preserve", "api%"]),
)
def test_plain_requests_are_forwarded_as_all_are(
    asked: list[tuple[list[FieldLine], str, int]], config: Forwarded, host: str
) -> None:
    forwarding = RequestForwarding(config, host=host, authority=b"o", keyed={b"x-tenant"})
    for lines, peer, length in [*asked, *asked]:
        body = GivenBody(length=length) if length else None
        given = request("POST" if length else "GET", b"/", *lines, peer=peer, body=body)
        names, values = given.fields.layout, given.fields.sent_values
        plain = forwarding.plain_lines(names, values, peer=peer, length=length)

        assert plain == forwarding.fields(given).encode()


OWN = st.sampled_from([(b"Surrogate-Key", b"a"), (b"X-Other", b"100%"), (b"Via", b"1.1 a")])


@drawn(ONCE, st.lists(OWN, max_size=3), st.booleans(), st.booleans())
def test_lines_of_a_response_are_those_of_its_head_that_are_not_for_us(
    lines: list[FieldLine], more: list[FieldLine], is_dated: bool, via: bool
) -> None:
    dated = [(b"Date", b"now")] if is_dated else []
    head = received(200, *(line for line in lines if line[0] != b"Connection"), *more, *dated)
    names, values = head.fields.layout, head.fields.sent_values
    encode, fields = response_lines(names, via=via), response_fields(names, via=via)
    if b"date" not in names.places:
        assert encode is None
        assert fields is None
        return
    assert encode is not None
    assert fields is not None
    expected = response_head(head, via=via, now=7).fields

    assert fields(values) == expected
    assert (
        encode(values)
        == Fields([line for line in expected.lines if line[0].lower() not in OUR_FIELDS]).encode()
    )


def cuts_after(*requests: Request) -> dict[object, Cut]:
    forwarding = RequestForwarding(Forwarded(), host="preserve", authority=b"o")
    for each in requests:
        forwarding.fields(each)
    return dict(forwarding._cuts.items())


def forms_after(*requests: Request) -> dict[object, LineForm]:
    forwarding = RequestForwarding(Forwarded(), host="preserve", authority=b"o")
    for each in requests:
        forwarding.plain_lines(each.fields.layout, each.fields.sent_values, peer="", length=0)
    return dict(forwarding._forms.items())


def test_what_is_remembered_is_bounded() -> None:
    long = b"x" * (MOST_OPTION_BYTES + 1)
    many = [request("GET", b"/", (b"X-%d" % number, b"a")) for number in range(2 * MOST_CUTS)]

    assert len(cuts_after(request(), request(), request("POST"))) == 2
    assert len(cuts_after(*many)) == MOST_CUTS
    assert len(forms_after(*many)) == MOST_CUTS
    too_long = request("GET", b"/", (b"Connection", long)), request("GET", b"/", (long * 20, b"a"))
    assert not cuts_after(*too_long)
    assert not forms_after(*too_long)
