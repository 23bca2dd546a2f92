"""Path patterns: `/products/{id}`, `/static/**`, `/reports/*.json`, compiled once and matched in linear time.

`{name}` is one segment, or a part of one, of at least one byte, and is captured; `*` is one segment, or any
part of one, also none; `**` is any number of whole segments, also none: `/cart/**` matches `/cart`, `/cart/`
and `/cart/a/b`. A wildcard takes as little as it can, and no choice is ever taken back: the work is bounded
by the lengths of pattern and path multiplied, whatever the path. Patterns match canonical paths (targets.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

from proxy.policy.targets import canonical_path, decode_unreserved

MAX_PATTERN_BYTES = 1024

_WILDCARD = re.compile(r"(\*|\{[A-Za-z_][A-Za-z0-9_]*\})")
_NOT_IN_URI = re.compile(rb"[\x00-\x20\x7f-\xff]")


class PatternError(ValueError):
    """The pattern has no clear meaning, or no path could ever match it."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment of a pattern: literal pieces, and between each two of them a wildcard."""

    pieces: tuple[bytes, ...]
    names: tuple[str | None, ...]
    """What each wildcard captures; None for `*`."""

    def match(self, text: bytes, captured: dict[str, str]) -> bool:
        """Is `text` such a segment? Captures are added to `captured`, also by a match that fails."""
        if not self.names:
            return text == self.pieces[0]
        if not text:  # a wildcard never makes a segment out of nothing: `/a/*` is not `/a/`
            return False
        if not text.startswith(self.pieces[0]):
            return False
        return self._match_rest(text, captured)

    def _match_rest(self, text: bytes, captured: dict[str, str]) -> bool:
        begin = len(self.pieces[0])
        last = len(self.names) - 1
        for index, name in enumerate(self.names):
            piece = self.pieces[index + 1]
            earliest = begin + (name is not None)
            # The first place is the best for a middle piece, as it leaves most to the others.
            end = text.find(piece, earliest) if index < last else len(text) - len(piece)
            if end < earliest or not text.startswith(piece, end):
                return False
            if name is not None:
                captured[name] = text[begin:end].decode("latin-1")
            begin = end + len(piece)
        return True


_Group = tuple[_Segment, ...]


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled pattern. Between each two groups of segments stands a `**`."""

    pattern: str
    _groups: tuple[_Group, ...]

    @property
    def first_literal(self) -> bytes | None:
        """The first segment of every path that matches; None where there are several."""
        first = self._groups[0][0] if self._groups[0] else None
        return first.pieces[0] if first is not None and not first.names else None

    def matches(self, path: bytes) -> dict[str, str] | None:
        """The captured parts of a canonical path by name, escapes kept; None where it does not match."""
        return self.matches_segments(path.split(b"/")[1:])

    def matches_segments(self, segments: list[bytes]) -> dict[str, str] | None:
        """The same for a path that was split already."""
        captured: dict[str, str] = {}
        head, *middle = self._groups
        if not middle:
            is_match = len(segments) == len(head) and _match_at(head, segments, 0, captured)
            return captured if is_match else None
        return captured if _match_around(head, middle, segments, captured) else None


def _match_around(
    head: _Group, others: list[_Group], segments: list[bytes], captured: dict[str, str]
) -> bool:
    *middle, tail = others
    tail_begins = len(segments) - len(tail)
    if len(head) > tail_begins or not _match_at(head, segments, 0, captured):
        return False
    begin = len(head)
    for group in middle:
        found = _find(group, segments, begin, tail_begins, captured)
        if found is None:
            return False
        begin = found + len(group)
    return _match_at(tail, segments, tail_begins, captured)


def _find(
    group: _Group, segments: list[bytes], begin: int, limit: int, captured: dict[str, str]
) -> int | None:
    """The first place at or after `begin` where the group matches and ends before `limit`."""
    for place in range(begin, limit - len(group) + 1):
        if _match_at(group, segments, place, captured):
            return place
    return None


def _match_at(group: _Group, segments: list[bytes], place: int, captured: dict[str, str]) -> bool:
    there = segments[place : place + len(group)]
    return all(map(_Segment.match, group, there, repeat(captured)))


def compile_glob(pattern: str) -> Glob:
    """The pattern, ready to match. Raises PatternError."""
    if not pattern.startswith("/") or not pattern.isprintable():
        raise PatternError(f"expected printable text that starts with /, found {pattern!r}")
    _refuse_unmatchable(pattern)
    groups: list[list[_Segment]] = [[]]
    for text in pattern[1:].split("/"):
        if text == "**":
            groups.append([])
        else:
            groups[-1].append(_segment(text))
    _refuse_repeated_names(segment for group in groups for segment in group)
    return Glob(pattern, tuple(map(tuple, groups)))


def _refuse_unmatchable(pattern: str) -> None:
    size = len(pattern.encode())
    if size > MAX_PATTERN_BYTES:
        raise PatternError(f"expected at most {MAX_PATTERN_BYTES} bytes, found {size}")
    example = _literal(_WILDCARD.sub("x", pattern))
    if b"?" in example or canonical_path(example) is None:
        raise PatternError(
            "expected a path without query, fragment, empty or dot segments, backslashes, broken escapes"
            f" and escaped . / \\ ; ? #, found {pattern!r}"
        )


def _refuse_repeated_names(segments: Iterable[_Segment]) -> None:
    names = [name for segment in segments for name in segment.names if name is not None]
    if len(names) != len(set(names)):
        raise PatternError(f"expected each name once, found {names}")


def _segment(text: str) -> _Segment:
    if "**" in text:
        raise PatternError(f"expected ** to be a whole segment, found {text!r}")
    pieces = _WILDCARD.split(text)
    literals, wildcards = pieces[::2], pieces[1::2]
    if any(brace in literal for literal in literals for brace in "{}"):
        raise PatternError(f"expected each brace to belong to a name such as {{id}}, found {text!r}")
    names = tuple(None if wildcard == "*" else wildcard[1:-1] for wildcard in wildcards)
    return _Segment(tuple(map(_literal, literals)), names)


def _literal(text: str) -> bytes:
    """As the text stands in a canonical path: `é` is %C3%A9 and `%7e` is `~`."""
    escaped = _NOT_IN_URI.sub(lambda byte: b"%%%02X" % byte[0][0], text.encode())
    return decode_unreserved(escaped)
