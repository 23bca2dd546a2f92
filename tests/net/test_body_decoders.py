from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.net.body_decoders import BodyDecoder, ChunkedDecoder, CountedDecoder, UntilCloseDecoder

MAX_OVERHEAD = 1024


def feed_in_two(decoder: BodyDecoder, data: bytes, cut: int) -> bytes:
    first = decoder.feed(data[:cut])
    if decoder.is_complete or decoder.fault or not data[cut:]:
        return first
    return first + decoder.feed(data[cut:])


@pytest.mark.parametrize("cut", range(4))
def test_a_counted_body_is_complete_with_its_last_byte(cut: int) -> None:
    decoder = CountedDecoder(3)

    assert feed_in_two(decoder, b"abc", cut) == b"abc"
    assert decoder.is_complete
    assert not decoder.has_surplus


def test_a_counted_body_says_what_is_missing() -> None:
    decoder = CountedDecoder(3)
    decoder.feed(b"a")

    assert not decoder.is_complete
    assert decoder.missing == "the last 2 bytes"


def test_bytes_beyond_the_count_are_surplus_and_not_body() -> None:
    decoder = CountedDecoder(3)

    assert decoder.feed(b"abcd") == b"abc"
    assert decoder.has_surplus


def test_a_body_until_close_misses_nothing_at_the_close() -> None:
    decoder = UntilCloseDecoder()

    assert decoder.feed(b"abc") == b"abc"
    assert not decoder.is_complete
    assert decoder.missing is None


WHOLE_BODIES = {
    "empty": (b"0\r\n\r\n", b""),
    "one chunk": (b"2\r\nab\r\n0\r\n\r\n", b"ab"),
    "upper and lower case": (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "leading zeros": (b"0002\r\nab\r\n000\r\n\r\n", b"ab"),
    "extension": (b'2;a=b;c="d e"\r\nab\r\n0;x\r\n\r\n', b"ab"),
    "trailers": (b"2\r\nab\r\n0\r\nX: y\r\nEmpty:\r\n\r\n", b"ab"),
    "data that looks like the end": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
}


@pytest.mark.parametrize("name", WHOLE_BODIES)
def test_a_chunked_body_is_decoded_wherever_it_is_cut(name: str) -> None:
    encoded, expected = WHOLE_BODIES[name]
    for cut in range(len(encoded) + 1):
        decoder = ChunkedDecoder(max_overhead=MAX_OVERHEAD)

        assert feed_in_two(decoder, encoded, cut) == expected
        assert decoder.is_complete, cut
        assert not decoder.has_surplus, cut


@pytest.mark.parametrize("surplus", [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"X", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("name", WHOLE_BODIES)
def test_bytes_behind_the_last_chunk_are_surplus(name: str, surplus: bytes) -> None:
    encoded, expected = WHOLE_BODIES[name]
    for cut in range(len(encoded)):
        decoder = ChunkedDecoder(max_overhead=MAX_OVERHEAD)

        assert feed_in_two(decoder, encoded + surplus, cut) == expected
        assert decoder.is_complete
        assert decoder.has_surplus


FAULTY_BODIES = [
    b"2 \r\nab\r\n0\r\n\r\n",
    b" 2\r\nab\r\n0\r\n\r\n",
    b"0x2\r\nab\r\n0\r\n\r\n",
    b"+2\r\nab\r\n",
    b"-1\r\n",
    b"g\r\n",
    b"\r\n2\r\nab\r\n",
    b"2\nab\r\n0\r\n\r\n",
    b"2\rab\r\n0\r\n\r\n",
    b"2\r\nab\n0\r\n\r\n",
    b"2\r\nabc\r\n0\r\n\r\n",
    b"10000000000000000\r\nab",
    b"2;a\nab\r\n0\r\n\r\n",
    b'2;a="b\n"\r\nab\r\n',
    b"2;\x01\r\nab\r\n",
    b"0\n\r\n",
    b"0\r\n\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\nX: a\r\n b\r\n\r\n",
    b"0\r\nX: \x01\r\n\r\n",
    b"0\r\nContent-Length: 3\r\n\r\n",
]


@pytest.mark.parametrize("encoded", FAULTY_BODIES)
def test_a_faulty_chunk_is_never_a_complete_body(encoded: bytes) -> None:
    for cut in range(len(encoded) + 1):
        decoder = ChunkedDecoder(max_overhead=MAX_OVERHEAD)
        feed_in_two(decoder, encoded, cut)

        assert not decoder.is_complete, cut
        assert decoder.fault is not None, cut


@pytest.mark.parametrize(
    "endless",
    [b"1;" + b"x" * 2000, b"0\r\n" + b"X: y\r\n" * 300, b"0" * 2000],
    ids=["extension", "trailers", "zeros"],
)
def test_extensions_and_trailers_are_bounded(endless: bytes) -> None:
    decoder = ChunkedDecoder(max_overhead=MAX_OVERHEAD)
    decoder.feed(endless)

    assert decoder.fault == "more chunk extensions and trailers than limits.head allows"


def test_many_small_chunks_are_no_overhead() -> None:
    decoder = ChunkedDecoder(max_overhead=MAX_OVERHEAD)

    assert decoder.feed(b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n") == b"a" * 10_000
    assert decoder.is_complete


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 30), max_size=20))
def test_any_chunks_in_any_segments_give_the_body(chunks: list[bytes], sizes: list[int]) -> None:
    encoded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    decoder = ChunkedDecoder(max_overhead=MAX_OVERHEAD)
    body, at = b"", 0
    for size in (*sizes, len(encoded)):
        if at < len(encoded):
            body += decoder.feed(encoded[at : at + size])
        at += size

    assert body == b"".join(chunks)
    assert decoder.is_complete
    assert not decoder.has_surplus
