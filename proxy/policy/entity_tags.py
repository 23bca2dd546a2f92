"""Entity tags and their comparison (RFC 9110 §8.8.3). A tag is kept as it was written, quotes and all."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WEAK = b"W/"
_ENTITY_TAG = re.compile(rb'(?:W/)?"[^"]*"|[^ \t,"]+')
"""A tag; or, for those who forget the quotes, what stands between commas."""


def is_weak(tag: bytes) -> bool:
    """May the tag stay the same when the bytes change?"""
    return tag.startswith(_WEAK)


def match_strongly(tag: bytes, other: bytes) -> bool:
    """Do both name the same bytes?"""
    return tag == other and not is_weak(tag)


def match_weakly(tag: bytes, other: bytes) -> bool:
    """Do both name the same content, weak or not?"""
    return tag.removeprefix(_WEAK) == other.removeprefix(_WEAK)


def entity_tags(lines: Iterable[bytes]) -> list[bytes]:
    """The members of If-Match or If-None-Match over all lines; `*` is one of them."""
    return [tag for line in lines for tag in _ENTITY_TAG.findall(line)]
