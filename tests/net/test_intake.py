from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.net.intake import ChunkedCut, CountedCut, Intake
from proxy.net.refusals import Refusal
from tests.support.raw_client import chunked, request

MAX_HEAD = 1024
HEAD = request("/a")


def intake_with(data: bytes) -> Intake:
    intake = Intake(MAX_HEAD)
    intake.add(data)
    return intake


def test_a_whole_head_is_taken_and_nothing_is_left() -> None:
    intake = intake_with(HEAD)

    assert intake.take_head() == HEAD
    assert not intake
    assert intake.take_head() is None


def test_what_follows_a_head_is_left() -> None:
    intake = intake_with(HEAD + b"rest")

    assert intake.take_head() == HEAD
    assert intake
    assert intake.take_all() == b"rest"
    assert not intake


@pytest.mark.parametrize("cut", range(1, len(HEAD)))
def test_a_head_cut_anywhere_is_taken_once_whole(cut: int) -> None:
    intake = intake_with(HEAD[:cut])

    assert intake.take_head() is None
    intake.add(HEAD[cut:])
    assert intake.take_head() == HEAD


def test_a_head_that_is_dripped_is_taken_once_whole() -> None:
    intake = Intake(MAX_HEAD)
    for offset in range(len(HEAD) - 1):
        intake.add(HEAD[offset : offset + 1])
        assert intake.take_head() is None

    intake.add(HEAD[-1:])

    assert intake.take_head() == HEAD


def test_a_head_that_came_in_pieces_hides_nothing_of_the_next() -> None:
    first, second = request("/first", "X: " + "x" * 100), request("/second")
    intake = intake_with(first[:-1])
    assert intake.take_head() is None
    intake.add(first[-1:] + second + second)

    assert [intake.take_head() for _ in range(3)] == [first, second, second]


def padded_head(size: int) -> bytes:
    return request("/", "X: " + "x" * (size - len(request("/", "X: "))))


@pytest.mark.parametrize(("size", "is_taken"), [(MAX_HEAD, True), (MAX_HEAD + 1, False)])
def test_head_limit_counts_the_whole_head(size: int, is_taken: bool) -> None:
    head = padded_head(size)

    assert intake_with(head).take_head() == (head if is_taken else Refusal.HEAD_TOO_LARGE)


@pytest.mark.parametrize(("size", "expected"), [(MAX_HEAD, None), (MAX_HEAD + 1, Refusal.HEAD_TOO_LARGE)])
def test_head_limit_holds_before_the_end_has_come(size: int, expected: Refusal | None) -> None:
    assert intake_with(padded_head(MAX_HEAD * 2)[:size]).take_head() is expected


def test_the_limit_is_for_one_head_not_for_what_is_pipelined() -> None:
    intake = intake_with(padded_head(MAX_HEAD) * 3)

    assert [intake.take_head() for _ in range(3)] == [padded_head(MAX_HEAD)] * 3


@pytest.mark.parametrize(
    "pieces", [(b"\r\n" + HEAD,), (b"\r", b"\n" + HEAD), (b"\r\n", HEAD), (b"\r\n" + HEAD[:1], HEAD[1:])]
)
def test_one_empty_line_before_a_request_is_ignored(pieces: tuple[bytes, ...]) -> None:
    intake = Intake(MAX_HEAD)
    for piece in pieces[:-1]:
        intake.add(piece)
        assert intake.take_head() is None
    intake.add(pieces[-1])

    assert intake.take_head() == HEAD


def test_an_empty_line_before_each_request_is_ignored() -> None:
    intake = intake_with((b"\r\n" + HEAD) * 2)

    assert [intake.take_head(), intake.take_head()] == [HEAD, HEAD]


@pytest.mark.parametrize("flood", [b"\r\n\r\nG", b"\r\n\r\n" + HEAD, b"\r\n" * 50_000])
def test_more_empty_lines_are_refused(flood: bytes) -> None:
    assert intake_with(flood).take_head() is Refusal.REQUEST_LINE


def test_a_lone_empty_line_leaves_nothing_to_wait_for() -> None:
    intake = intake_with(b"\r\n")

    assert intake.take_head() is None
    assert not intake


@pytest.mark.parametrize("partial", [b"GET / HTTP/1.1\n", b"\x16\x03\x01", b"GET /\r\n"])
def test_a_faulty_beginning_is_refused_at_once(partial: bytes) -> None:
    assert isinstance(intake_with(partial).take_head(), Refusal)


def test_a_counted_body_ends_at_its_length() -> None:
    intake = intake_with(b"abcde" + HEAD)
    cut = CountedCut(5)

    assert intake.take_body(cut) == b"abcde"
    assert intake.take_body(cut) == b""
    assert intake.take_head() == HEAD


def test_a_counted_body_comes_in_pieces() -> None:
    intake = intake_with(b"abc")
    cut = CountedCut(5)

    assert intake.take_body(cut) == b"abc"
    intake.add(b"defg")
    assert intake.take_body(cut) == b"de"
    assert intake.take_all() == b"fg"


TRAILERS = b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"
TRICKY = chunked(b"\r\n\r\n", b"a\r\n", b"0\r\n\r\n", b"\r\n\r\n\r\n\r\n\r")


@pytest.mark.parametrize("body", [chunked(b"abc"), chunked(), TRAILERS, TRICKY, b"1;a=b\r\nx\r\n0;c\r\n\r\n"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_piece_of_a_chunked_body_crosses_its_end(body: bytes, data: st.DataObject) -> None:
    """The parser sees the body's end at the end of a piece, never inside one, however the bytes come."""
    stream = body + HEAD
    cuts = sorted(data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=8)))
    intake, cut, taken = Intake(MAX_HEAD), ChunkedCut(), b""
    for start, end in zip((0, *cuts), (*cuts, len(stream)), strict=True):
        intake.add(stream[start:end])
        while intake and taken != body:
            taken += intake.take_body(cut)

    assert taken == body
    assert intake.take_head() == HEAD


def test_what_was_taken_is_let_go_of() -> None:
    intake = intake_with(HEAD)
    intake.take_head()

    assert repr(intake) == "<Intake 0 bytes>"
    assert intake._held == b""
