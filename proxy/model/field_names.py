"""The field names of a head: one object for all heads that have the same, with what follows from names alone.

A client, and an origin, sends the same names with every message. Where each stands, which are left out and
how the lines look is found out once for each such list, and not for each head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from lru import LRU

T = TypeVar("T")
Values = tuple[bytes, ...]
Placed = tuple[bytes, int]
"""A name, and the place of its value among all that there are."""

MOST_LISTS = 256
MOST_LIST_BYTES = 1024
"""Of all names in one list: longer ones are not remembered, so that nobody fills the memory with them."""
MOST_DERIVED = 16
"""Of what is remembered of one list: who sends may choose what is left out (Connection, no-cache="...")."""


class Cut(NamedTuple):
    """Some names, and where their values are found among others."""

    names: FieldNames
    pick: Callable[[Values], Values]
    """Their values, out of all."""


class FieldNames:
    """A list of names, as sent."""

    __slots__ = ("_derived", "_form", "_longer", "_shorter", "listed", "places")

    def __init__(self, listed: tuple[bytes, ...]) -> None:
        self.listed = listed
        places: dict[bytes, tuple[int, ...]] = {}
        for place, name in enumerate(listed):
            lowered = name.lower()
            places[lowered] = (*places.get(lowered, ()), place)
        self.places = places
        """Of each name, in lower case, where it stands."""
        self._form = b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name in listed])
        self._shorter: dict[frozenset[bytes], Cut | None] = {}
        self._longer: dict[tuple[bytes, ...], FieldNames] = {}
        self._derived: dict[Callable[[FieldNames], Any], Any] = {}

    def __repr__(self) -> str:
        return f"FieldNames({self.listed!r})"

    @property
    def is_long(self) -> bool:
        """Too long to be remembered."""
        return sum(map(len, self.listed)) > MOST_LIST_BYTES

    def encode(self, values: Values) -> bytes:
        """The lines as they stand in a head, each with its end."""
        return self._form % values

    def without(self, unwanted: frozenset[bytes]) -> Cut | None:
        """What is left without these (lower case); None: none of them is there."""
        if unwanted in self._shorter:
            return self._shorter[unwanted]
        cut = None if unwanted.isdisjoint(self.places) else self._cut(unwanted)
        return _remember(self._shorter, unwanted, cut)

    def plus(self, more: tuple[bytes, ...]) -> FieldNames:
        """With more names at the end."""
        longer = self._longer.get(more)
        return longer or _remember(self._longer, more, names_of((*self.listed, *more)))

    def derived(self, rule: Callable[[FieldNames], T]) -> T:
        """What `rule` says of these names; it is asked once, and its word must not change."""
        if rule in self._derived:
            said: T = self._derived[rule]
            return said
        said = rule(self)
        _remember(self._derived, rule, said)
        return said

    def _cut(self, unwanted: frozenset[bytes]) -> Cut:
        return cut_of(self.placed(unwanted))

    def placed(self, unwanted: AbstractSet[bytes]) -> list[Placed]:
        """Where what is left without these (lower case) stands."""
        return [(name, place) for place, name in enumerate(self.listed) if name.lower() not in unwanted]


def names_of(listed: tuple[bytes, ...]) -> FieldNames:
    """The one object for this list, as long as it is remembered."""
    known = _known.get(listed)
    if known is not None:
        return known
    names = FieldNames(listed)
    if not names.is_long:
        _known[listed] = names
    return names


def cut_of(placed: Sequence[Placed]) -> Cut:
    """These names, in this order, each with the value that stands at its place."""
    return Cut(names_of(tuple(name for name, _ in placed)), _picker([place for _, place in placed]))


_known: LRU[tuple[bytes, ...], FieldNames] = LRU(MOST_LISTS)


def _picker(places: list[int]) -> Callable[[Values], Values]:
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda _: ()
    only = places[0]
    return lambda values: (values[only],)


def _remember(memory: dict[Any, T], key: object, said: T) -> T:
    if len(memory) < MOST_DERIVED:
        memory[key] = said
    return said
