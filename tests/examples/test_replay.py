"""The replay against an origin that runs, without a sidecar between: every request reaches the origin."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterator

import pytest

from tests.support.examples import run, running

KEYS = (3, 1, 3, 4_000_000_000, 1)


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with running("fast_origin.py") as url:
        yield url


@pytest.mark.parametrize(("width", "form"), [(32, "I"), (64, "Q")])
def test_a_trace_is_replayed_in_full_and_every_body_checked(origin, tmp_path, width, form):
    trace = tmp_path / f"some.u{width}be.xz"
    trace.write_bytes(lzma.compress(struct.pack(f">{len(KEYS)}{form}", *KEYS)))

    ended = run("replay.py", str(trace), "--url", origin, "--origin", origin, "--expect-origin", "5")

    assert ended.returncode == 0, ended.stderr
    assert "5 requests for 3 keys" in ended.stdout
    assert "the origin saw 5 requests; 0 saved (0.0%)" in ended.stdout
    assert "5 of 5 bodies were right" in ended.stdout


def test_another_count_at_the_origin_than_expected_exits_1(origin):
    ended = run(
        *("replay.py", "--url", origin, "--origin", origin, "--expect-origin", "distinct"),
        *("--keys", "2", "--requests", "50", "--connections", "4"),
    )

    assert ended.returncode == 1
    assert "the origin was asked 50 times, expected 2" in ended.stderr


def test_a_generated_trace_is_the_same_for_the_same_seed(origin):
    arguments = ("replay.py", "--url", origin, "--requests", "300", "--keys", "1000", "--limit", "200")

    first, again, other = (run(*arguments, "--seed", seed) for seed in ("1", "1", "2"))

    counts = [ended.stdout.partition(" in ")[0] for ended in (first, again, other)]
    assert counts[0].startswith("200 requests for ")
    assert counts[0] == counts[1] != counts[2]


def test_wrong_bodies_exit_1_and_name_the_first():
    with running("shop.py", "--port", "0", "--delay", "0") as url:
        ended = run("replay.py", "--url", url, "--keys", "1", "--requests", "3", "--connections", "1")

    assert ended.returncode == 1
    assert "3 wrong answers, the first: key 1: 200" in ended.stderr
    assert "0 of 3 bodies were right" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.u32be.xz",), "No such file"),
        ((__file__,), "--width must"),
        ((__file__, "--width", "32"), "not supported by decoder"),
        (("--url", "http://127.0.0.1:1"), "Connect call failed"),
    ],
)
def test_what_cannot_be_replayed_is_told_without_a_traceback(arguments, words):
    ended = run("replay.py", *arguments)

    assert ended.returncode == 1
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
