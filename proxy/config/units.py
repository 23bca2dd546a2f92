"""Durations, sizes and shares: text with a unit -> seconds, bytes, a fraction.

Knows nothing of YAML or of the schema. A ValueError says what was expected; the caller
knows what was found and where.
"""

from __future__ import annotations

import math
import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

LONGEST_SECONDS = 3650 * SECONDS["d"]
"""Ten years: above it a duration is a slip, and Redis' PX comes near its own limits."""
LARGEST_BYTES = 1 << 50

DURATION_EXAMPLES = "a duration such as 250ms, 10s, 5m, 1h or 1d"
SIZE_EXAMPLES = "a size such as 64KiB or 256MiB"
SHARE_EXAMPLES = "a share such as 20%"

_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_SHARE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%")

_MEANT = {
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "mins": "m",
    "minute": "m",
    "minutes": "m",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "b": "B",
    "k": "KiB",
    "kb": "KiB",
    "ki": "KiB",
    "kib": "KiB",
    "m": "MiB",
    "mb": "MiB",
    "mi": "MiB",
    "mib": "MiB",
    "g": "GiB",
    "gb": "GiB",
    "gi": "GiB",
    "gib": "GiB",
}
"""What people write -> the unit that they mean; only ever a suggestion, never accepted."""


def duration_seconds(given: object) -> float:
    """Seconds of `250ms`, `10s`, `5m`, `1h`, `1d` or bare seconds. Raises ValueError."""
    seconds = _number(given)
    if seconds is None:
        seconds = _quantity(given, SECONDS, bare="s", expected=DURATION_EXAMPLES)
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError("expected a duration from 0s to 3650d")
    return seconds


def size_bytes(given: object) -> int:
    """Bytes of `64KiB`, `256MiB`, `1GiB` or bare bytes. Raises ValueError."""
    size = _number(given)
    if size is None:
        size = _quantity(given, BYTES, bare="B", expected=SIZE_EXAMPLES)
    if size != int(size) or not 0 <= size <= LARGEST_BYTES:
        raise ValueError("expected a whole number of bytes, at most 1048576GiB")
    return int(size)


def share_fraction(given: object) -> float:
    """0.2 of `20%`; a bare number only as a number (not text), from 0 to 1. Raises ValueError."""
    fraction = _number(given)
    if fraction is None:
        fraction = _percentage(given)
    if not 0 <= fraction <= 1:
        raise ValueError("expected a share from 0% to 100%")
    return fraction


def _number(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    return float(given) if math.isfinite(given) else -1.0


def _quantity(given: object, units: dict[str, float] | dict[str, int], *, bare: str, expected: str) -> float:
    match = _QUANTITY.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise ValueError(f"expected {expected}")
    number, unit = match.groups()
    factor = units.get(unit or bare)
    if factor is None:
        meant = _MEANT.get(unit.lower())
        hint = f"; did you mean {number}{meant}?" if meant in units else ""
        raise ValueError(f"expected {expected}{hint}")
    # A quotient keeps 250ms exact, where 250 * 0.001 need not be.
    return int(number) / 1000 if unit == "ms" and number.isdigit() else float(number) * factor


def _percentage(given: object) -> float:
    if given == "0":
        return 0.0
    match = _SHARE.fullmatch(given) if isinstance(given, str) else None
    if match is not None:
        return float(match[1]) / 100
    raise ValueError(f"expected {SHARE_EXAMPLES}{_meant_share(given)}")


def _meant_share(given: object) -> str:
    if not isinstance(given, str) or not _SHARE.fullmatch(f"{given}%"):
        return ""
    # 0.2 is a share as others write it, 20 one whose sign is missing.
    percent = float(given) * 100 if "." in given and float(given) < 1 else float(given)
    return f"; did you mean {percent:g}%?"
