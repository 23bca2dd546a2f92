"""Path patterns as text: are they well formed, and which parameters have they.

`*` is one segment or any part of one, `{name}` the same with a name and at least one character, `**` any
number of whole segments, also none: `/cart/**` is `/cart`, `/cart/` and `/cart/a/b`. Matching requests is
`proxy/policy/globs.py`'s; what that refuses is refused here first, where its place in the file is known.
"""

from __future__ import annotations

import re

MOST_BYTES = 1024
ANY_DEPTH = "**"
WILDCARD = re.compile(r"(\*|\{[A-Za-z_][A-Za-z0-9_]*\})")

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9_~-]")
_AMBIGUOUS = re.compile(r"(?i)[?#\\]|/\.{0,2}[/;]|/\.{1,2}\Z|%(?:25)*(?:2[3EF]|3[BF]|5C|0[0AD])")
"""Targets with these match no route: two servers could read them as two different paths."""


def checked(given: object) -> str:
    """The pattern as written. Raises ValueError where it could never match or has no clear meaning."""
    if not isinstance(given, str) or not given.startswith("/") or not given.isprintable():
        raise ValueError("expected a path pattern such as /products/{id} or /static/**")
    if len(given.encode()) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes")
    if not _may_match(WILDCARD.sub("x", given)):
        raise ValueError(
            "expected a path without query, empty or dot segments, backslashes and escaped . / \\ ; ? #"
        )
    if any(ANY_DEPTH in segment and segment != ANY_DEPTH for segment in segments(given)):
        raise ValueError("expected ** to be a whole segment, as in /static/**")
    if re.search(r"[{}]", WILDCARD.sub("", given)):
        raise ValueError("expected each brace to belong to a parameter such as {id}")
    names = parameters(given)
    if len(set(names)) != len(names):
        raise ValueError("expected each parameter name once")
    return given


def segments(pattern: str) -> list[str]:
    """The parts between the slashes."""
    return pattern[1:].split("/")


def parameters(text: str) -> tuple[str, ...]:
    """The names in braces, in order; of a path pattern or of a tag template."""
    return tuple(_PARAMETER.findall(text))


def canonical(text: str) -> str:
    """Escapes of unreserved characters decoded, all others in upper case: as requests are matched."""
    return _ESCAPE.sub(_decoded, text)


def judges_by_ending_alone(pattern: str) -> bool:
    """Whether any path may match, if only it ends, or goes on, in the right way: `/**/*.css`, `/*.css`.

    An origin that ignores what follows `/account` then lets an attacker choose what is cached.
    """
    before, *literals = re.split(r"\*\*?|\{[^}]*\}", pattern)
    if not literals or before.strip("/"):
        return False
    if ANY_DEPTH in segments(pattern):
        return any(literal.strip("/") for literal in literals)
    last = segments(pattern)[-1]
    return bool(WILDCARD.search(last)) and bool(literals[-1])


def _may_match(path: str) -> bool:
    return not _MALFORMED_ESCAPE.search(path) and not _AMBIGUOUS.search(canonical(path))


def _decoded(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()
