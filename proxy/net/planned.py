"""What the plain lane remembers of a method, target and host."""

from __future__ import annotations

from msgspec import Struct

from proxy.model import RelayTerms
from proxy.net.standing_hit import Standing


class Planned(Struct, gc=False, eq=False):
    """A plan, what it was made for, and what answers it for the moment."""

    plan: object
    host: bytes
    """The normal one."""
    line: bytes
    """Method and target."""
    wants_body: bool
    """GET, not HEAD."""
    terms: RelayTerms | None = None
    """How the origin's answer goes to the client, where that is all there is to it."""
    standing: Standing | None = None
    again_until: float = 0.0
    """A hit before then, on the loop's clock, is one of many."""
