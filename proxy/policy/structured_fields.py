"""Structured field values, as far as cache fields need them (RFC 8941 §4.2): dictionaries, lists of strings.

The whole grammar is checked, as one fault makes a field void; of the values only those types are told apart
that a cache directive can have. Knows no field and no directive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BareItem = bool | int | bytes | None
"""Boolean, Integer, String (without its quotes); None: any other type, which no caller has a use for."""

_KEY = rb"[a-z*][a-z0-9_\-.*]*+"
_STRING = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+"'
_BARE = (
    rb"(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}+|"
    + _STRING
    + rb"|[A-Za-z*][!#$%&'*+\-.^_`|~:/0-9A-Za-z]*+|:[A-Za-z0-9+/=]*+:|\?[01])"
)
_PARAMETERS = rb"(?:;[ ]*+" + _KEY + rb"(?:=" + _BARE + rb")?)*+"
_INNER_LIST = rb"\([ ]*+(?:" + _BARE + _PARAMETERS + rb"(?:[ ]++|(?=\))))*+\)"
_VALUE = rb"(?P<value>" + _BARE + rb"|" + _INNER_LIST + rb")" + _PARAMETERS

_DICTIONARY_MEMBER = re.compile(rb"(?P<key>" + _KEY + rb")(?:=" + _VALUE + rb"|" + _PARAMETERS + rb")")
_LIST_MEMBER = re.compile(_VALUE)
_SEPARATOR = re.compile(rb"[ \t]*+,[ \t]*+(?=[^ \t])")
_INTEGER = re.compile(rb"-?[0-9]+")
_ESCAPE = re.compile(rb"\\(.)")


def parse_dictionary(value: bytes) -> dict[bytes, BareItem] | None:
    """The members, parameters left out; of a repeated key the last. None: not a dictionary."""
    members = _members(_DICTIONARY_MEMBER, value)
    if members is None:
        return None
    return {member["key"]: _bare_item(member["value"]) for member in members}


def parse_strings(value: bytes) -> list[bytes] | None:
    """The members of a list of Strings, parameters left out; None: not such a list."""
    members = _members(_LIST_MEMBER, value)
    if members is None:
        return None
    items = [_bare_item(member["value"]) for member in members]
    strings = [item for item in items if isinstance(item, bytes)]
    return strings if len(strings) == len(items) else None


def _members(pattern: re.Pattern[bytes], value: bytes) -> list[re.Match[bytes]] | None:
    text = value.strip(b" ")
    if not text:
        return []
    found = list(_scan(pattern, text))
    return found if found and found[-1].end() == len(text) else None


def _scan(pattern: re.Pattern[bytes], text: bytes) -> Iterator[re.Match[bytes]]:
    """Members one after the other, up to the first that is none."""
    position = 0
    while (member := pattern.match(text, position)) is not None:
        yield member
        separator = _SEPARATOR.match(text, member.end())
        if separator is None:
            return
        position = separator.end()


def _bare_item(text: bytes | None) -> BareItem:
    if text is None or text == b"?1":
        return True
    if text == b"?0":
        return False
    if text.startswith(b'"'):
        return _ESCAPE.sub(rb"\1", text[1:-1])
    return int(text) if _INTEGER.fullmatch(text) else None
