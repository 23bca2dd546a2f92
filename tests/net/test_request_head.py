from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FailureKind, Fields, OriginFailure
from proxy.net.request_head import encode_request_head


@pytest.mark.parametrize(
    "target",
    [b"/", b"*", b"/x/?", b"/a#b?", b"/a%2Fb/../c%20d/%7e//x;y=1?a=%2f&&", b'/<>"{}|\\^`[]', b"/\xe9"],
)
def test_the_target_goes_out_byte_for_byte(target: bytes) -> None:
    assert encode_request_head("GET", target, Fields([(b"Host", b"a"), (b"x", b"")])) == (
        b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nx: \r\n\r\n"
    )


REFUSED = [
    ("", b"/", []),
    ("GET /x", b"/", []),
    ("GET\r\n", b"/", []),
    ("G\u00e9T", b"/", []),
    ("G\u20acT", b"/", []),
    ("GET", b"", []),
    ("GET", b"x", []),
    ("GET", b"**", []),
    ("GET", b"http://evil/", []),
    ("GET", b"/a b", []),
    ("GET", b"/a\r\nX: y", []),
    ("GET", b"/a\x00", []),
    ("GET", b"/a\x7f", []),
    ("GET", b"/", [(b"A", b"b\r\nX: y")]),
    ("GET", b"/", [(b"A", b"b\nX: y")]),
    ("GET", b"/", [(b"A", b"b\r")]),
    ("GET", b"/", [(b"A", b"\x00")]),
    ("GET", b"/", [(b"A\r\nX", b"y")]),
    ("GET", b"/", [(b"Transfer-Encoding: chunked", b"y")]),
    ("GET", b"/", [(b"A ", b"y")]),
    ("GET", b"/", [(b"", b"y")]),
]


@pytest.mark.parametrize(("method", "target", "lines"), REFUSED)
def test_what_could_forge_a_line_is_refused(
    method: str, target: bytes, lines: list[tuple[bytes, bytes]]
) -> None:
    outcome = encode_request_head(method, target, Fields(lines))

    assert isinstance(outcome, OriginFailure)
    assert outcome.kind is FailureKind.INVALID_REQUEST


@given(
    st.text(max_size=4),
    st.binary(max_size=6),
    st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=3),
)
def test_whatever_is_given_the_head_has_as_many_lines_as_it_should(
    method: str, target: bytes, lines: list[tuple[bytes, bytes]]
) -> None:
    head = encode_request_head(method, target, Fields(lines))

    assert isinstance(head, OriginFailure) or head.split(b"\r\n") == [
        b"%b %b HTTP/1.1" % (method.encode(), target),
        *[name + b": " + value for name, value in lines],
        b"",
        b"",
    ]
