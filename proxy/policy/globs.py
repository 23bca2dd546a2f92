"""Path patterns: `/products/{id}`, `/static/**`, `/reports/*.json`, compiled once and matched in linear time.

`{name}` is one segment, or a part of one, of at least one byte, and is captured; `*` is one segment, or any
part of one, also none; `**` is any number of whole segments, also none: `/cart/**` matches `/cart`, `/cart/`
and `/cart/a/b`. A wildcard takes as little as it can, and no choice is ever taken back: the work is bounded
by the lengths of pattern and path multiplied, whatever the path. Patterns match canonical paths (targets.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.policy.targets import canonical_path, decode_unreserved

MAX_PATTERN_BYTES = 1024

_WILDCARD = re.compile(r"(\*|\{[A-Za-z_][A-Za-z0-9_]*\})")
_ANY_SEGMENT = rb"(?:/[^/]*)"
_NOT_IN_URI = re.compile(rb"[\x00-\x20\x7f-\xff]")


class PatternError(ValueError):
    """The pattern has no clear meaning, or no path could ever match it."""


class _Segment(NamedTuple):
    """One segment of a pattern: literal pieces, and between each two of them a wildcard."""

    pieces: tuple[bytes, ...]
    names: tuple[str | None, ...]
    """What each wildcard captures; None for `*`."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled pattern."""

    pattern: str
    first_literal: bytes | None
    """The first segment of every path that matches; None where there are several."""
    names: frozenset[str]
    """Of the parts that are captured of every path that matches."""
    matches: Callable[[bytes], re.Match[bytes] | None]
    """What is captured of a canonical path, by name, escapes kept; None where it does not match."""

    def takes(self, path: bytes) -> bool:
        """Does the canonical path match?"""
        return self.matches(path) is not None


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
    first = groups[0][0] if groups[0] else None
    first_literal = first.pieces[0] if first is not None and not first.names else None
    form = re.compile(_form_of(groups))
    return Glob(pattern, first_literal, frozenset(form.groupindex), form.fullmatch)


def _form_of(groups: Sequence[Sequence[_Segment]]) -> bytes:
    """An expression for whole paths. Between each two groups of segments stands a `**`."""
    head, *others = [b"".join(map(_form_of_segment, group)) for group in groups]
    if not others:
        return head
    *middle, tail = others
    # The first place where a group fits: what follows never moves it to another.
    fitted = b"".join(rb"(?>%b*?%b(?![^/]))" % (_ANY_SEGMENT, group) for group in middle)
    return head + fitted + _ANY_SEGMENT + b"*?" + tail


def _form_of_segment(segment: _Segment) -> bytes:
    first, *pieces = map(re.escape, segment.pieces)
    form = b"/" + first
    if segment.names and not any(segment.names) and not any(segment.pieces):
        form += b"(?=[^/])"  # a wildcard never makes a segment out of nothing: `/a/*` is not `/a/`
    for number, (name, piece) in enumerate(zip(segment.names, pieces, strict=True), 1):
        if number < len(pieces):
            # The first place is the best for a middle piece, as it leaves most to the others.
            form += b"(?>%b%b)" % (_wildcard(name, b"?"), piece)
        else:
            form += _wildcard(name, b"" if piece else b"+") + piece
    return form


def _wildcard(name: str | None, how: bytes) -> bytes:
    return b"[^/]*" + how if name is None else b"(?P<%b>[^/]+%b)" % (name.encode(), how)


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
