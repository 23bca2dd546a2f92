"""The scalar types of the schema: what one YAML value may look like and what it becomes.

Every type takes the text that stands in the file and, for plain dicts, the value that it becomes.
A ValueError says what was expected. Knows no key of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

from proxy.config.units import SIZE_EXAMPLES, duration_seconds, share_fraction, size_bytes

FLAG_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
NONE_WORD = "none"
OFF_WORD = "off"
MOST_COUNT = 10**9

_COUNT = re.compile(r"[0-9]{1,12}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
"""A method, a field name or a cookie name (RFC 9110 §5.6.2)."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_TAG = re.compile(r"[^\x00-\x20\x7f,]{1,1024}")


class MemoryShare(NamedTuple):
    """A share (0 to 1) of the memory that the container may use."""

    share: float

    def __str__(self) -> str:
        return f"{self.share * 100:g}%"


def flag(given: object) -> bool:
    """True of `true`, `on`, `yes`; False of `false`, `off`, `no`. Raises ValueError."""
    if isinstance(given, bool):
        return given
    meant = FLAG_WORDS.get(given.lower()) if isinstance(given, str) else None
    if meant is None:
        raise ValueError("expected true or false")
    return meant


def count(given: object) -> int:
    """A whole number, read as decimal also with leading zeros. Raises ValueError."""
    return _count_from(0, given)


def positive_count(given: object) -> int:
    """A whole number from 1. Raises ValueError."""
    return _count_from(1, given)


def token(given: object) -> str:
    """A method, field or cookie name. Raises ValueError."""
    if not isinstance(given, str) or not _TOKEN.fullmatch(given):
        raise ValueError("expected a name of letters, digits and -_.!#$%&'*+^`|~")
    return given


def method(given: object) -> str:
    """A request method; methods are case-sensitive (RFC 9110 §9.1). Raises ValueError."""
    name = token(given)
    if name != name.upper():
        raise ValueError(f"expected a method in capitals; did you mean {name.upper()}?")
    return name


def label(given: object) -> str:
    """A name that may stand in metrics, logs and Redis keys. Raises ValueError."""
    if not isinstance(given, str) or not _LABEL.fullmatch(given):
        raise ValueError("expected at most 64 letters, digits, -, _, . and :, the first a letter or digit")
    return given


def tag(given: object) -> str:
    """A tag or its template. Raises ValueError."""
    if not isinstance(given, str) or not _TAG.fullmatch(given):
        raise ValueError("expected a tag of at most 1024 characters without spaces and commas")
    return given


def memory_limit(given: object) -> int | MemoryShare:
    """A size in bytes, or a share of the container's memory. Raises ValueError."""
    if isinstance(given, MemoryShare):
        return given
    if isinstance(given, str) and given.rstrip().endswith("%"):
        return MemoryShare(share_fraction(given))
    try:
        return size_bytes(given)
    except ValueError as error:
        raise ValueError(
            str(error).replace(SIZE_EXAMPLES, f"{SIZE_EXAMPLES}, or a share such as 40%")
        ) from None


def or_none(read: Callable[[object], Any], word: str = NONE_WORD) -> Callable[[object], Any]:
    """`read`, but None for `word`."""

    def read_or_none(given: object) -> Any:
        return None if given is None or given == word else read(given)

    return read_or_none


def above_zero(read: Callable[[object], Any]) -> Callable[[object], Any]:
    """`read`, but for what no request could keep within: elsewhere 0 means no limit, here it is none."""

    def read_above_zero(given: object) -> Any:
        value = read(given)
        if value == 0:
            raise ValueError("expected more than 0")
        return value

    return read_above_zero


def _count_from(least: int, given: object) -> int:
    number = int(given) if isinstance(given, str) and _COUNT.fullmatch(given) else given
    is_whole = isinstance(number, int) and not isinstance(number, bool)
    if not isinstance(number, int) or not is_whole or not least <= number <= MOST_COUNT:
        raise ValueError(f"expected a whole number from {least} to {MOST_COUNT}")
    return number


def _none_word(value: Any) -> Any:
    return NONE_WORD if value is None else value


def _empty_is_none(given: object) -> object:
    return None if given == "" else given


def _lower_token(given: object) -> str:
    return token(given).lower()


_QUANTITY_SCHEMA = {"type": "number", "minimum": 0}
DURATION_SCHEMA = {
    "title": "duration",
    "anyOf": [_QUANTITY_SCHEMA, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)?$"}],
}
SIZE_SCHEMA = {
    "title": "size",
    "anyOf": [_QUANTITY_SCHEMA, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(B|KiB|MiB|GiB)?$"}],
}
_SHARE_TEXT_SCHEMA = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)? ?%|0)$"}
SHARE_SCHEMA = {"title": "share", "anyOf": [{"const": 0}, _SHARE_TEXT_SCHEMA]}
FLAG_SCHEMA = {"title": "flag", "anyOf": [{"type": "boolean"}, {"enum": sorted(FLAG_WORDS)}]}
_DIGITS_SCHEMA = {"type": "string", "pattern": "^[0-9]+$"}
COUNT_SCHEMA = {"title": "count", "anyOf": [{"type": "integer", "minimum": 0}, _DIGITS_SCHEMA]}
POSITIVE_COUNT_SCHEMA = {"title": "count", "anyOf": [{"type": "integer", "minimum": 1}, _DIGITS_SCHEMA]}

Duration = Annotated[float, PlainValidator(duration_seconds), WithJsonSchema(DURATION_SCHEMA)]
PositiveDuration = Annotated[
    float, PlainValidator(above_zero(duration_seconds)), WithJsonSchema(DURATION_SCHEMA)
]
OptionalDuration = Annotated[
    float | None,
    PlainValidator(or_none(duration_seconds)),
    PlainSerializer(_none_word),
    WithJsonSchema({"title": "duration or none", "anyOf": [{"const": NONE_WORD}, DURATION_SCHEMA]}),
]
Size = Annotated[int, PlainValidator(size_bytes), WithJsonSchema(SIZE_SCHEMA)]
PositiveSize = Annotated[int, PlainValidator(above_zero(size_bytes)), WithJsonSchema(SIZE_SCHEMA)]
OptionalSize = Annotated[
    int | None,
    PlainValidator(or_none(size_bytes)),
    PlainSerializer(_none_word),
    WithJsonSchema({"title": "size or none", "anyOf": [{"const": NONE_WORD}, SIZE_SCHEMA]}),
]
Share = Annotated[float, PlainValidator(share_fraction), WithJsonSchema(SHARE_SCHEMA)]
Flag = Annotated[bool, PlainValidator(flag), WithJsonSchema(FLAG_SCHEMA)]
Count = Annotated[int, PlainValidator(count), WithJsonSchema(COUNT_SCHEMA)]
PositiveCount = Annotated[int, PlainValidator(positive_count), WithJsonSchema(POSITIVE_COUNT_SCHEMA)]
MemoryLimit = Annotated[
    int | MemoryShare,
    PlainValidator(memory_limit),
    PlainSerializer(lambda limit: str(limit) if isinstance(limit, MemoryShare) else limit),
    WithJsonSchema({"title": "size or share", "anyOf": [SIZE_SCHEMA, _SHARE_TEXT_SCHEMA]}),
]
Label = Annotated[str, PlainValidator(label), WithJsonSchema({"title": "name", "type": "string"})]
Tag = Annotated[str, PlainValidator(tag), WithJsonSchema({"title": "tag", "type": "string"})]
Method = Annotated[str, PlainValidator(method), WithJsonSchema({"title": "method", "type": "string"})]
CookieName = Annotated[str, PlainValidator(token), WithJsonSchema({"title": "cookie name", "type": "string"})]
HeaderName = Annotated[
    str, PlainValidator(_lower_token), WithJsonSchema({"title": "field name", "type": "string"})
]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
