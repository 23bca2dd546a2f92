"""HTTP dates to epoch seconds and back (RFC 9110 §5.6.7).

All three formats are read, of any letter case; whatever else is there makes a date invalid. Whether an
invalid date means "expired" or "absent" is the caller's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_FULL_DAYS = (b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

_DAY = rb"(?:%b)" % b"|".join(_DAYS)
_FULL_DAY = rb"(?:%b)" % b"|".join(_FULL_DAYS)
_MONTH = rb"(?P<month>%b)" % b"|".join(_MONTHS)
_TIME = rb"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FIXED_FORMAT, *_OBSOLETE_FORMATS = (
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        _DAY + rb", (?P<day>[0-9]{2}) " + _MONTH + rb" (?P<year>[0-9]{4}) " + _TIME + rb" GMT",
        _FULL_DAY + rb", (?P<day>[0-9]{2})-" + _MONTH + rb"-(?P<year>[0-9]{2}) " + _TIME + rb" GMT",
        _DAY + rb" " + _MONTH + rb" (?P<day>[0-9]{2}| [0-9]) " + _TIME + rb" (?P<year>[0-9]{4})",
    )
)
"""IMF-fixdate; RFC 850 and asctime. The day of the week is not compared with the date."""
_FIXED_LENGTH = len(b"Sun, 06 Nov 1994 08:49:37 GMT")

_FAR_YEARS = 50
_WRITTEN_IN = 1_767_225_600.0
"""2026-01-01, in place of a clock where a caller has none: matters for RFC 850 dates decades away only."""
_LEAP_SECOND = 60


def http_date(value: bytes, *, now: float = _WRITTEN_IN) -> float | None:
    """Epoch seconds; None: not a date. `now` only tells the century of a two-digit year."""
    if len(value) == _FIXED_LENGTH:
        return _fixed_date(value)
    for pattern in _OBSOLETE_FORMATS:
        found = pattern.fullmatch(value)
        if found is not None:
            return _seconds(found, now)
    return None


# All answers of one second have the same Date.
@lru_cache(maxsize=256)
def _fixed_date(value: bytes) -> float | None:
    found = _FIXED_FORMAT.fullmatch(value)
    return None if found is None else _seconds(found, _WRITTEN_IN)


def _seconds(found: re.Match[bytes], now: float) -> float | None:
    year, second = int(found["year"]), int(found["second"])
    if len(found["year"]) == len("94"):
        year = _full_year(year, now)
    is_leap = second == _LEAP_SECOND
    try:
        moment = datetime(
            year,
            _MONTH_NUMBERS[found["month"].lower()],
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            second - is_leap,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return moment.timestamp() + is_leap


def _full_year(two_digits: int, now: float) -> int:
    """The year that is at most 50 years ahead: what seems farther is in the past (RFC 9110 §5.6.7)."""
    this_year = datetime.fromtimestamp(now, UTC).year
    year = this_year - this_year % 100 + two_digits
    if year > this_year + _FAR_YEARS:
        return year - 100
    return year


def format_http_date(now: float) -> bytes:
    """Epoch seconds as an IMF-fixdate, whole seconds."""
    moment = datetime.fromtimestamp(int(now), UTC)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[moment.weekday()],
        moment.day,
        _MONTHS[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )
