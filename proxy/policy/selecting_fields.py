"""Request fields that select a variant, in a form in which equivalent values are equal (RFC 9111 §4.1)."""

from __future__ import annotations

import re

from proxy.model import Fields

ACCEPT_LANGUAGE = b"accept-language"

_OWS = b" \t"
_WEIGHT = re.compile(rb"[qQ]=(?:(?P<one>1(?:\.0{0,3})?)|0(?:\.(?P<fraction>[0-9]{0,3}))?)")
_WEIGHTED = frozenset({b"accept-encoding", ACCEPT_LANGUAGE})
_LANGUAGE = re.compile(rb"[a-z]{1,8}(?:-[a-z0-9]{1,8})*")

_QUOTED = rb'"(?:[^"\\]|\\.)*+"'
_COMMA = re.compile(_QUOTED + rb"|[ \t]*+,[ \t]*+", re.DOTALL)
"""A comma between members; inside a quoted string it is none, and stays as it is."""
_CLOSED = re.compile(rb'(?:[^"]|' + _QUOTED + rb")*+", re.DOTALL)
"""Every quote ends: else nobody knows which commas are text."""


def normalised_value(name: bytes, values: list[bytes]) -> bytes | None:
    """The field's value such that equivalent ones are equal; None when absent, which differs from empty.

    Only as RFC 9111 §4.1 allows: the weighted lists of Accept-Encoding and Accept-Language in one order, all
    others with their lines combined, and no whitespace around the members of what may be a list.
    """
    if not values:
        return None
    if name in _WEIGHTED:
        return b", ".join(_weighted_text(*member) for member in sorted(set(_weighted_members(values))))
    if name == b"cookie":
        return b"; ".join(value.strip(_OWS) for value in values)
    combined = b", ".join(value.strip(_OWS) for value in values).strip(_OWS)
    return _COMMA.sub(_separated, combined) if _CLOSED.fullmatch(combined) else combined


def wanted_language(values: list[bytes]) -> bytes | None:
    """The one language that Accept-Language wants most (RFC 9110 §12.5.4); None: there is no such."""
    ranked = sorted(_weighted_members(values))
    if not ranked:
        return None
    weight, language = ranked[0]
    is_alone = len(ranked) == 1 or ranked[1][0] > weight
    return language if is_alone and weight < 0 and _LANGUAGE.fullmatch(language) else None


def language_of(fields: Fields) -> bytes | None:
    """The language that a response is in, lower case; None: not said, or several (RFC 9110 §8.5)."""
    values = fields.values(b"content-language")
    language = values[0].strip(_OWS).lower() if len(values) == 1 else b""
    return language if _LANGUAGE.fullmatch(language) else None


def _separated(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b", "


def _weighted_members(values: list[bytes]) -> list[tuple[int, bytes]]:
    members = (member.strip(_OWS) for member in b",".join(values).lower().split(b","))
    return [_weighted(member) for member in members if member]


def _weighted(member: bytes) -> tuple[int, bytes]:
    """Minus the weight in thousandths, and the member without it. A weight that is none stays in the text."""
    text, semicolon, parameter = member.partition(b";")
    weight = _WEIGHT.fullmatch(parameter.strip(_OWS)) if semicolon else None
    if weight is None:
        return -1000, member
    thousandths = 1000 if weight["one"] else int((weight["fraction"] or b"").ljust(3, b"0"))
    return -thousandths, text.rstrip(_OWS)


def _weighted_text(minus_thousandths: int, text: bytes) -> bytes:
    return text if minus_thousandths == -1000 else b"%b;q=0.%03d" % (text, -minus_thousandths)
