"""Cache-Control text to directives and their arguments (RFC 9111 §5.2). Syntax only: knows no directive.

Reads whatever bytes come and never fails: what is malformed keeps its name and gets an invalid argument, so
that a mangled `no-store` still forbids and a mangled `max-age` still allows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

MOST_SECONDS = 2**31
"""What a larger delta-seconds means (RFC 9111 §1.2.2)."""

_OWS = b" \t"
# One pass over the text, also where a quote is never closed: the open string reaches to the end.
_MEMBER = re.compile(
    rb'(?:[^,"]++|"(?:[^"\\]|\\.)*+"|(?P<unclosed>"(?:[^"\\]|\\.)*+\\?\Z))+',
    re.DOTALL,
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_DIGITS = re.compile(rb"[0-9]++")
_MOST_DIGITS = 10


class Directive(NamedTuple):
    """One member of the list: `name`, `name=token` or `name="quoted string"`."""

    name: bytes
    """Lower case."""
    argument: bytes | None = None
    """Without its quotes; None where there is none."""
    is_valid: bool = True
    """Nothing but a token or a quoted string follows the name."""


class Directives:
    """The directives of a field, by name; of each every occurrence, in order."""

    __slots__ = ("_by_name",)

    def __init__(self, directives: Iterable[Directive]) -> None:
        self._by_name: dict[bytes, list[Directive]] = {}
        for directive in directives:
            self._by_name.setdefault(directive.name, []).append(directive)

    def has(self, name: bytes) -> bool:
        """Is the directive there, with whatever argument?"""
        return name in self._by_name

    def has_bare(self, name: bytes) -> bool:
        """Is the directive there without an argument?"""
        return Directive(name) in self._by_name.get(name, ())

    def seconds(
        self, name: bytes, *, invalid: int | None, choose: Callable[[Iterable[int]], int] = min
    ) -> int | None:
        """The argument as delta-seconds; None when absent. `invalid` is what a malformed argument counts as.

        Of several the lowest holds: never longer than the first, which RFC 9111 §4.2.1 would allow.
        """
        stated = [_seconds(directive) for directive in self._by_name.get(name, ())]
        counted = [invalid if seconds is None else seconds for seconds in stated]
        known = [seconds for seconds in counted if seconds is not None]
        return choose(known) if known else None

    def field_names(self, name: bytes) -> frozenset[bytes] | None:
        """The fields that `name="a, b"` is limited to, lower case; empty where it is absent.

        None: not limited. A list that holds anything but field names counts as none, the stricter reading.
        """
        listed: set[bytes] = set()
        for directive in self._by_name.get(name, ()):
            names = _names(directive)
            if not names:
                return None
            listed |= names
        return frozenset(listed)


def parse_directives(lines: Iterable[bytes]) -> Directives:
    """The directives of all lines of one field."""
    members = (member.strip(_OWS) for line in lines for member in _members(line))
    return Directives(directive for member in members if (directive := _directive(member)) is not None)


def delta_seconds(text: bytes) -> int | None:
    """Whole seconds, at most 2**31; None: not a non-negative integer (RFC 9111 §1.2.2)."""
    if _DIGITS.fullmatch(text) is None:
        return None
    significant = text.lstrip(b"0") or b"0"
    return min(int(significant), MOST_SECONDS) if len(significant) <= _MOST_DIGITS else MOST_SECONDS


def _members(line: bytes) -> Iterator[bytes]:
    for found in _MEMBER.finditer(line):
        if found["unclosed"] is None:
            yield found[0]
        else:
            yield from found[0].split(b",")


def _directive(member: bytes) -> Directive | None:
    name = _TOKEN.match(member)
    if name is None:
        return None
    lowered = name[0].lower()
    assignment = member[name.end() :]
    if not assignment:
        return Directive(lowered)
    quoted = _QUOTED.fullmatch(assignment, 1)
    if assignment.startswith(b"=") and quoted is not None:
        return Directive(lowered, _ESCAPE.sub(rb"\1", quoted[1]))
    is_valid = assignment.startswith(b"=") and _TOKEN.fullmatch(assignment, 1) is not None
    return Directive(lowered, assignment[1:], is_valid)


def _seconds(directive: Directive) -> int | None:
    if not directive.is_valid or directive.argument is None:
        return None
    return delta_seconds(directive.argument)


def _names(directive: Directive) -> set[bytes]:
    """The field names in the argument; empty if there are none, or anything else as well."""
    if directive.argument is None or not directive.is_valid:
        return set()
    names = [part.strip(_OWS).lower() for part in directive.argument.split(b",")]
    return set(names) if all(_TOKEN.fullmatch(name) for name in names) else set()
