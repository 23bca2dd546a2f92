from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.units import BYTES, SECONDS, duration_seconds, share_fraction, size_bytes

DURATIONS = [
    ("250ms", 0.25),
    ("10s", 10.0),
    ("5m", 300.0),
    ("1h", 3600.0),
    ("1d", 86400.0),
    ("7", 7.0),
    ("0", 0.0),
    ("1.5h", 5400.0),
    ("010", 10.0),
    ("3 s", 3.0),
    ("3650d", 315360000.0),
    (2, 2.0),
    (0.5, 0.5),
]
SIZES = [
    ("64KiB", 65536),
    ("256MiB", 268435456),
    ("1GiB", 1073741824),
    ("1.5KiB", 1536),
    ("512", 512),
    ("512B", 512),
    ("1048576GiB", 1 << 50),
    (4096, 4096),
]
SHARES = [("20%", 0.2), ("0%", 0.0), ("100%", 1.0), ("0.5%", 0.005), ("0", 0.0), (0.25, 0.25), (1, 1.0)]

EXPECTED_DURATION = "expected a duration such as 250ms, 10s, 5m, 1h or 1d"
EXPECTED_SIZE = "expected a size such as 64KiB or 256MiB"
NO_DURATIONS = [
    ("5mins", f"{EXPECTED_DURATION}; did you mean 5m?"),
    ("2 Hours", f"{EXPECTED_DURATION}; did you mean 2h?"),
    ("5KiB", EXPECTED_DURATION),
    ("1:30", EXPECTED_DURATION),
    ("-1s", EXPECTED_DURATION),
    ("1e3", EXPECTED_DURATION),
    ("", EXPECTED_DURATION),
    ("٣s", EXPECTED_DURATION),
    ("3651d", "expected a duration from 0s to 3650d"),
    (-1, "expected a duration from 0s to 3650d"),
    (math.nan, "expected a duration from 0s to 3650d"),
    (math.inf, "expected a duration from 0s to 3650d"),
    (True, EXPECTED_DURATION),
    (None, EXPECTED_DURATION),
    ([], EXPECTED_DURATION),
]
NO_SIZES = [
    ("64KB", f"{EXPECTED_SIZE}; did you mean 64KiB?"),
    ("1m", f"{EXPECTED_SIZE}; did you mean 1MiB?"),
    ("10%", EXPECTED_SIZE),
    ("1.5", "expected a whole number of bytes, at most 1048576GiB"),
    ("1048577GiB", "expected a whole number of bytes, at most 1048576GiB"),
    (-1, "expected a whole number of bytes, at most 1048576GiB"),
]
NO_SHARES = [
    ("20", "expected a share such as 20%; did you mean 20%?"),
    ("0.2", "expected a share such as 20%; did you mean 20%?"),
    ("0.075", "expected a share such as 20%; did you mean 7.5%?"),
    ("101%", "expected a share from 0% to 100%"),
    (1.5, "expected a share from 0% to 100%"),
    ("many", "expected a share such as 20%"),
]


@pytest.mark.parametrize(("given", "seconds"), DURATIONS)
def test_duration_is_read_as_seconds(given: object, seconds: float) -> None:
    assert duration_seconds(given) == seconds


@pytest.mark.parametrize(("given", "size"), SIZES)
def test_size_is_read_as_bytes(given: object, size: int) -> None:
    assert size_bytes(given) == size


@pytest.mark.parametrize(("given", "fraction"), SHARES)
def test_share_is_read_as_fraction(given: object, fraction: float) -> None:
    assert share_fraction(given) == fraction


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        *((duration_seconds, *case) for case in NO_DURATIONS),
        *((size_bytes, *case) for case in NO_SIZES),
        *((share_fraction, *case) for case in NO_SHARES),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(read, given: object, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(given)

    assert str(refused.value) == message


@given(number=st.integers(0, 3650), unit=st.sampled_from(sorted(SECONDS)))
def test_every_whole_duration_is_exact(number: int, unit: str) -> None:
    exact = number / 1000 if unit == "ms" else number * SECONDS[unit]

    assert duration_seconds(f"{number}{unit}") == exact


@given(number=st.integers(0, 1 << 20), unit=st.sampled_from(sorted(BYTES)))
def test_every_whole_size_is_exact(number: int, unit: str) -> None:
    assert size_bytes(f"{number}{unit}") == number * BYTES[unit]


@given(st.text(max_size=20) | st.floats() | st.integers() | st.none() | st.booleans())
def test_nothing_but_a_value_error_is_ever_raised(given: object) -> None:
    for read, most in ((duration_seconds, 315360000.0), (size_bytes, 1 << 50), (share_fraction, 1.0)):
        try:
            value = read(given)
        except ValueError:
            continue
        assert 0 <= value <= most
