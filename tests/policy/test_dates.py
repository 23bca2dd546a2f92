import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.dates import format_http_date, http_date

EPOCH = 784111777.0
Y2026 = 1_767_225_600.0
Y2050 = 2_544_400_878.0

VALID = [
    (b"Sun, 06 Nov 1994 08:49:37 GMT", EPOCH),
    (b"Sunday, 06-Nov-94 08:49:37 GMT", EPOCH),
    (b"Sun Nov  6 08:49:37 1994", EPOCH),
    (b"Sun Nov 06 08:49:37 1994", EPOCH),
    (b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    (b"Wed, 31 Dec 1969 23:59:59 GMT", -1.0),
    (b"Tue, 19 Jan 2038 14:14:08 GMT", 2147523248.0),  # freshness-expires-32bit
    (b"Sun, 21 Nov 2286 04:46:39 GMT", 10_000_039_599.0),  # freshness-expires-far-future
    (b"Thursday, 18-Aug-50 02:01:18 GMT", Y2050),  # freshness-expires-rfc850
    (b"Thu Aug 18 02:01:18 2050", Y2050),  # freshness-expires-ansi-c
    (b"THU, 18 Aug 2050 02:01:18 GMT", Y2050),  # freshness-expires-wrong-case-weekday
    (b"Thu, 18 AUG 2050 02:01:18 GMT", Y2050),  # freshness-expires-wrong-case-month
    (b"Thu, 18 Aug 2050 02:01:18 gMT", Y2050),  # freshness-expires-wrong-case-tz
    (b"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800.0),  # a leap second is the second after
    (b"Mon, 29 Feb 2016 00:00:00 GMT", 1456704000.0),
    (b"Fri, 06 Nov 1994 08:49:37 GMT", EPOCH),  # not its day of the week
]
INVALID = [
    b"",
    b"0",
    b"-1",
    b"784111777",
    b"Thu, 18 Aug 2050 02:01:18 UTC",  # freshness-expires-invalid-utc
    b"Thu, 18 Aug 2050 02:01:18 AEST",  # freshness-expires-invalid-aest
    b"Thu, 18 Aug 50 02:01:18 GMT",  # freshness-expires-invalid-2-digit-year
    b"Thu 18 Aug 2050 02:01:18 GMT",  # freshness-expires-invalid-no-comma
    b"Thu, 18  Aug  2050 02:01:18 GMT",  # freshness-expires-invalid-multiple-spaces
    b"Thu, 18-Aug-2050 02:01:18 GMT",  # freshness-expires-invalid-date-dashes
    b"Thu, 18 Aug 2050 02.01.18 GMT",  # freshness-expires-invalid-time-periods
    b"Thu, 18 Aug 2050 2:01:18 GMT",  # freshness-expires-invalid-1-digit-hour
    b"Thu, 8 Aug 2050 02:01:18 GMT",
    b"Thu, 18 Aug 2050 02:01:18 GMT ",
    b"Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
    b"Thu, 18 Aug 2050 24:00:00 GMT",
    b"Thu, 18 Aug 2050 02:60:18 GMT",
    b"Thu, 18 Aug 2050 02:01:61 GMT",
    b"Tue, 30 Feb 2016 00:00:00 GMT",
    b"Tue, 29 Feb 2017 00:00:00 GMT",
    b"Thu, 00 Aug 2050 02:01:18 GMT",
    b"Thu, 18 Aug 0000 02:01:18 GMT",
    b"Thu, 18 Foo 2050 02:01:18 GMT",
    b"Foo, 18 Aug 2050 02:01:18 GMT",
    b"Sun Nov 6 08:49:37 1994",
    b"Sun Nov  6 08:49:37 94",
    "Thu, 1\u0661 Aug 2050 02:01:18 GMT".encode(),
]
CENTURIES = [
    (Y2026, b"76", 2076),
    (Y2026, b"77", 1977),
    (Y2026, b"00", 2000),
    (Y2026, b"26", 2026),
    (EPOCH, b"94", 1994),
    (EPOCH, b"44", 1944),
    (Y2050, b"00", 2000),
]


@pytest.mark.parametrize(("text", "seconds"), VALID)
def test_date_is_read(text: bytes, seconds: float) -> None:
    assert http_date(text) == seconds


@pytest.mark.parametrize("text", INVALID)
def test_what_is_no_date_is_none(text: bytes) -> None:
    assert http_date(text) is None


@pytest.mark.parametrize(("now", "year", "full_year"), CENTURIES)
def test_two_digit_year_is_at_most_50_years_ahead(now: float, year: bytes, full_year: int) -> None:
    short = http_date(b"Friday, 01-Jan-%b 00:00:00 GMT" % year, now=now)

    assert short == http_date(b"Fri, 01 Jan %d 00:00:00 GMT" % full_year)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (EPOCH, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (EPOCH + 0.999, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (EPOCH + 1, b"Sun, 06 Nov 1994 08:49:38 GMT"),
    ],
)
def test_date_is_written(seconds: float, text: bytes) -> None:
    assert format_http_date(seconds) == text


@given(st.integers(min_value=0, max_value=253_402_300_799))
def test_what_is_written_reads_the_same(seconds: int) -> None:
    assert http_date(format_http_date(seconds)) == seconds


@given(
    st.binary() | st.from_regex(rb"\A[A-Za-z]{3,9},? [0-9 ]{2}[ -][A-Za-z]{3}[ -][0-9]{2,4} [0-9:]{8} GMT\Z")
)
def test_any_bytes_are_a_date_or_none(text: bytes) -> None:
    assert http_date(text) is None or isinstance(http_date(text), float)
