import pytest

from proxy.model import Fields
from proxy.policy.cookies import Cookie, read_cookies

READ = [
    ([], []),
    ([b""], []),
    ([b" ; ;"], []),
    ([b"a=1"], [(b"a", b"a=1")]),
    ([b"a=1; b=2"], [(b"a", b"a=1"), (b"b", b"b=2")]),
    ([b"a=1;b=2;"], [(b"a", b"a=1"), (b"b", b"b=2")]),
    ([b"a=1; a=2"], [(b"a", b"a=1"), (b"a", b"a=2")]),
    ([b"a=1", b"b=2"], [(b"a", b"a=1"), (b"b", b"b=2")]),
    ([b"a"], [(b"a", b"a")]),
    ([b"a="], [(b"a", b"a=")]),
    ([b"=1"], [(b"", b"=1")]),
    ([b"\ta = 1 "], [(b"a", b"a = 1")]),
    ([b"a=b=c"], [(b"a", b"a=b=c")]),
    ([b'a="1"; b=""'], [(b"a", b'a="1"'), (b"b", b'b=""')]),
    ([b'a={"b":"c"}'], [(b"a", b'a={"b":"c"}')]),
    ([b"A=1"], [(b"A", b"A=1")]),
]
AMBIGUOUS = [
    [b'a="1;b=2"'],
    [b'a="'],
    [b'a="1"2'],
    [b'a="1\\";b=2"'],
    [b'x=1; a= "1; b=2'],
    [b"x=1", b'a="1;b=2"'],
]


@pytest.mark.parametrize(("lines", "expected"), READ)
def test_cookies_are_read_in_order(lines: list[bytes], expected: list[tuple[bytes, bytes]]) -> None:
    fields = Fields((b"Cookie", line) for line in lines)

    assert read_cookies(fields) == [Cookie(*cookie) for cookie in expected]


@pytest.mark.parametrize("lines", AMBIGUOUS)
def test_open_quotes_have_no_reading(lines: list[bytes]) -> None:
    assert read_cookies(Fields((b"cookie", line) for line in lines)) is None
