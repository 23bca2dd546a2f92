"""The forms in which the origin's answers are relayed: by status and names, filled in for each answer."""

from __future__ import annotations

from collections.abc import Callable

from lru import LRU
from msgspec import Struct
from msgspec.structs import replace

from proxy.model import FieldNames, Fields, RelayTerms, Values
from proxy.net import response_head, wire
from proxy.net.forwarding import response_fields, response_lines

MOST_FORMS = 1024
"""Of answers, by status, names and terms."""
MOST_REASON_BYTES = 64
"""Longer ones are the whole flow's, so that nobody fills the memory with them."""
_FIRST_FINAL_STATUS = 200


class Form(Struct, gc=False, eq=False):
    """How answers of one status, with one list of names, go to clients."""

    head: bytes
    """A format for the lines, that of the age, the body's length and the body."""
    lines: Callable[[Values], bytes]
    """What clients get of the lines where nothing but these is looked at."""
    fields: Callable[[Values], Fields]
    """What the rest of the house gets to see."""
    length: int
    """Where Content-Length stands."""
    options: int | None
    """Where Connection stands."""


class RelayForms:
    """Those for one configuration."""

    def __init__(self, *, via: bool, with_x_cache_status: bool) -> None:
        self._via = via
        self._with_x_cache_status = with_x_cache_status
        self.known: LRU[object, Form | None] = LRU(MOST_FORMS)

    def of(self, status: bytes, reason: bytes, names: FieldNames, terms: RelayTerms) -> Form | None:
        """None: such answers are the whole flow's."""
        if len(reason) > MOST_REASON_BYTES:
            return None
        key = status, reason, names, terms
        if key in self.known:
            return self.known[key]
        form = self._make(int(status), reason, names, terms)
        if not names.is_long:
            self.known[key] = form
        return form

    def _make(self, status: int, reason: bytes, names: FieldNames, terms: RelayTerms) -> Form | None:
        places = names.places
        lengths, options = places.get(b"content-length", ()), places.get(b"connection", ())
        lines, fields = response_lines(names, via=self._via), response_fields(names, via=self._via)
        has_body = status >= _FIRST_FINAL_STATUS and status not in response_head.NO_BODY_STATUSES
        is_counted = len(lengths) == 1 and b"transfer-encoding" not in places
        if not (has_body and is_counted) or lines is None or fields is None or len(options) > 1:
            return None
        if not terms.watched.isdisjoint(places):
            return None
        said = replace(terms.cache_status, forward_status=status)
        word = terms.outcome.nginx_word if self._with_x_cache_status else ""
        head = wire.relayed_form(status, reason, said, word)
        return Form(head, lines, fields, lengths[0], options[0] if options else None)
