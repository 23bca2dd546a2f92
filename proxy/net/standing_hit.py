"""The bytes of a hit, made once for all who ask the same while they hold: until its Age or ttl changes.

What is asked for once keeps nothing here. What is asked for many times a second is written from here, and
neither its age is reckoned nor its head formatted: 1.4 us of the 4.8 that a hit takes of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from proxy.model import FieldLine, Hit
from proxy.net import wire
from proxy.net.answering import COPIED_BYTES

MOST_BYTES = 2048
"""Of fields and body of a hit whose bytes are kept: for all plans that the lane remembers some megabytes."""
AGAIN_SECONDS = 1.0
"""Who is asked for twice within this time gets its bytes kept."""

Pieces = tuple[bytes, bytes, int]
"""Head and short body; a long body, written as it is, so that slow clients of one entry share its memory; the
size of the body."""


class Tally(Protocol):
    """Counts the answers of one route and outcome."""

    def count(self, seconds: float) -> bool:
        """Count one. True: an access line is to be written for it."""


Said = tuple[Hit, Tally, Pieces]
"""No class: made for each hit that does not stand."""


class Standing(Struct, gc=False, eq=False):
    """A hit, and its bytes as far as somebody has asked for them."""

    hit: Hit
    lasting: object
    """By what the flow knows that the hit still holds; None: it was not asked."""
    tally: Tally
    """Where all who get it are counted."""
    whole: Said | None = None
    """What those get who ask without conditions, or in vain with some."""
    kept: Said | None = None
    """What those get who may keep what they have: a 304."""
    kept_by: Sequence[FieldLine] = ()
    """The conditions with which somebody got it last: whoever has the same may have it, too."""

    def write(self, *, wants_body: bool, with_x: bool) -> Said:
        """Make `whole`."""
        pieces = pieces_of(self.hit, wants_body=wants_body, with_x=with_x)
        whole = self.whole = self.hit, self.tally, pieces
        return whole

    def keep(self, conditions: Sequence[FieldLine], *, with_x: bool) -> Said:
        """Make `kept`, for these and all who have the same conditions."""
        kept = self.kept
        if kept is None:
            hit = replace(self.hit, is_not_modified=True)
            kept = self.kept = hit, self.tally, pieces_of(hit, wants_body=False, with_x=with_x)
        self.kept_by = conditions
        return kept


def pieces_of(hit: Hit, *, wants_body: bool, with_x: bool) -> Pieces:
    """What is written for it."""
    body = hit.stored.body if wants_body and not hit.is_not_modified else b""
    size = len(body)
    if size > COPIED_BYTES:
        return wire.hit_head(hit, b"", with_x_cache_status=with_x), body, size
    return wire.hit_head(hit, body, with_x_cache_status=with_x), b"", size
