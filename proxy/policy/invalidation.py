"""What an invalidation names: selectors, the records that carry them, and an operator's body read into them.

The rules R1-R21 are in docs/invalidation.md. A selector is kept as it was written: what it means depends on
the routes in force where it is applied (selected.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from proxy.config.faults import shown, suggestion
from proxy.model import Position
from proxy.policy.globs import compile_glob
from proxy.policy.places import place_of, split_host
from proxy.policy.tags import MOST_TAG_BYTES

MOST_VALUE_BYTES = 8192
"""Longer than any URL that a server takes by default; a record of the log stays small."""


class SelectorKind(Enum):
    """What a selector names; the word is also the admin API's field and the metric's label."""

    URL = "urls"
    PREFIX = "prefixes"
    PATTERN = "patterns"
    TAG = "tags"
    ROUTE = "routes"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Selector:
    """One thing to invalidate. `value` is what the operator wrote: normalised where it is applied."""

    kind: SelectorKind
    value: str = ""


EVERYTHING = Selector(SelectorKind.EVERYTHING)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log (R1). Without selectors it only begins an epoch."""

    position: Position
    predecessor: tuple[int, int]
    """Id of the record before it, as (ms, seq); (0, 0) before the first."""
    uid: str
    """Names what was asked for, so that it is appended once however often it is tried."""
    selectors: tuple[Selector, ...] = ()
    soft: bool = False


class SelectorFault(NamedTuple):
    """What is wrong with a body, and where: a field such as `urls[3]`, empty for the whole."""

    field: str
    message: str


def parse_selectors(body: object, *, limit: int) -> tuple[Selector, ...] | list[tuple[str, str]]:
    """The selectors of `{"urls": [], ..., "everything": false}`, each once; all faults where there are any.

    `limit` is the most selectors that one call may name.
    """
    if not isinstance(body, Mapping):
        return [SelectorFault("", f"expected an object, found {_described(body)}")]
    selectors: dict[Selector, None] = {}
    faults: list[tuple[str, str]] = []
    for name, value in body.items():
        for item in _read(name, value):
            if isinstance(item, Selector):
                selectors[item] = None
            else:
                faults.append(item)
    if faults:
        return faults
    if not selectors:
        return [SelectorFault("", f"nothing selected: expected at least one of {', '.join(_KINDS)}")]
    if len(selectors) > limit:
        return [SelectorFault("", f"expected at most {limit} selectors, found {len(selectors)}")]
    return tuple(selectors)


_KINDS = {kind.value: kind for kind in SelectorKind}


def _read(name: object, value: object) -> Iterator[Selector | SelectorFault]:
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        yield SelectorFault(str(name), f"unknown field{suggestion(str(name), _KINDS)}")
    elif kind is SelectorKind.EVERYTHING:
        yield from _read_everything(kind.value, value)
    elif not isinstance(value, list | tuple):
        yield SelectorFault(kind.value, f"expected a list of strings, found {_described(value)}")
    else:
        for index, item in enumerate(value):
            yield _read_item(kind, f"{kind.value}[{index}]", item)


def _read_everything(field: str, value: object) -> Iterator[Selector | SelectorFault]:
    if not isinstance(value, bool):
        yield SelectorFault(field, f"expected true or false, found {_described(value)}")
    elif value:
        yield EVERYTHING


def _read_item(kind: SelectorKind, field: str, value: object) -> Selector | SelectorFault:
    if not isinstance(value, str):
        return SelectorFault(field, f"expected a string, found {_described(value)}")
    if not value:
        return SelectorFault(field, "expected a value, found an empty string")
    most_bytes = MOST_TAG_BYTES if kind is SelectorKind.TAG else MOST_VALUE_BYTES
    try:
        found_bytes = len(value.encode())
        if found_bytes > most_bytes:
            return SelectorFault(field, f"expected at most {most_bytes} bytes, found {found_bytes}")
        _CHECKS[kind](value)
    except UnicodeEncodeError:
        return SelectorFault(field, "expected text, found half a surrogate pair")
    except ValueError as error:
        return SelectorFault(field, str(error))
    return Selector(kind, value)


def _check_place(value: str) -> None:
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError(f"expected all but visible ASCII percent-encoded, found {shown(value)}")
    place_of(value)


def _check_pattern(value: str) -> None:
    compile_glob(split_host(value)[1])


def _check_name(value: str) -> None:
    if not value.isprintable():
        raise ValueError(f"expected printable text, found {value!r}")


_CHECKS = {
    SelectorKind.URL: _check_place,
    SelectorKind.PREFIX: _check_place,
    SelectorKind.PATTERN: _check_pattern,
    SelectorKind.TAG: _check_name,
    SelectorKind.ROUTE: _check_name,
}
"""Each raises ValueError in words that fit behind the field's name."""


def _described(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, Mapping):
        return "an object"
    return shown(value)
