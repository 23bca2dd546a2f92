"""Header fields as they came over the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, KeysView

from proxy.model.field_names import FieldNames, Values, names_of

FieldLine = tuple[bytes, bytes]

_find_lines = re.compile(rb"([^:]*+): ([^\r]*+)\r\n").findall


class Fields:
    """Header fields as received: order, duplicates, case and bytes are kept.

    Look-ups take lower-case names; where each name stands is known for all heads with the same names.
    """

    __slots__ = ("_encoded", "_lines", "_names", "_values")

    def __init__(self, lines: Iterable[FieldLine] = ()) -> None:
        self._lines: tuple[FieldLine, ...] | None = tuple(lines)
        self._names: FieldNames | None = None
        """None until somebody looks something up; then `_values` belong to it."""
        self._values: Values = ()
        self._encoded: bytes | None = None

    @classmethod
    def of(cls, names: FieldNames, values: Values) -> Fields:
        """A value for each of the names."""
        fields = cls.__new__(cls)
        fields._lines = fields._encoded = None  # noqa: SLF001 - our own
        fields._names, fields._values = names, values  # noqa: SLF001
        return fields

    @property
    def lines(self) -> tuple[FieldLine, ...]:
        """Names and values as received."""
        lines = self._lines
        if lines is None:
            lines = self._lines = tuple(zip(self.layout.listed, self._values, strict=True))
        return lines

    @property
    def layout(self) -> FieldNames:
        """The names, as received."""
        return self._names or self._arrange()

    @property
    def sent_values(self) -> Values:
        """The values in the order of the names."""
        if self._names is None:
            self._arrange()
        return self._values

    def _arrange(self) -> FieldNames:
        listed, self._values = zip(*self._lines, strict=True) if self._lines else ((), ())
        self._names = names = names_of(listed)
        return names

    def __contains__(self, name: bytes) -> bool:
        return name in (self._names or self._arrange()).places

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(self.lines)

    def __repr__(self) -> str:
        return f"Fields({list(self.lines)!r})"

    def names(self) -> KeysView[bytes]:
        """The names that occur, in lower case, each once."""
        return (self._names or self._arrange()).places.keys()

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field, one per line, in order; empty when absent."""
        places = (self._names or self._arrange()).places.get(name)
        if places is None:
            return []
        return [self._values[place] for place in places]

    def only(self, name: bytes) -> bytes | None:
        """The value of the field where it has a single line; None when absent or repeated."""
        places = (self._names or self._arrange()).places.get(name)
        return self._values[places[0]] if places is not None and len(places) == 1 else None

    def first(self, name: bytes) -> bytes | None:
        """The value of the field's first line; None when absent."""
        places = (self._names or self._arrange()).places.get(name)
        return None if places is None else self._values[places[0]]

    def combined(self, name: bytes) -> bytes | None:
        """All lines of a list field as one value (RFC 9110 §5.3); None when absent."""
        places = (self._names or self._arrange()).places.get(name)
        if places is None:
            return None
        return self._values[places[0]] if len(places) == 1 else b", ".join(self.values(name))

    def without(self, names: Iterable[bytes]) -> Fields:
        """A copy that lacks the named fields (lower-case names)."""
        cut = (self._names or self._arrange()).without(frozenset(names))
        return self if cut is None else Fields.of(cut.names, cut.pick(self._values))

    def plus(self, lines: Iterable[FieldLine]) -> Fields:
        """A copy with more lines at the end."""
        added = tuple(lines)
        if not added:
            return self
        listed, values = zip(*added, strict=True)
        return Fields.of((self._names or self._arrange()).plus(listed), self._values + values)

    def encode(self) -> bytes:
        """The lines as they stand in a head: `Name: value CRLF`, without the empty line.

        Kept: what is stored is mostly what its first client gets.
        """
        encoded = self._encoded
        if encoded is None:
            encoded = self._encoded = (self._names or self._arrange()).encode(self._values)
        return encoded

    @classmethod
    def decode(cls, encoded: bytes) -> Fields:
        """The inverse of `encode`, for heads that we wrote ourselves."""
        return cls(_find_lines(encoded))


NO_FIELDS = Fields()
"""Of a request that is planned without its fields, as none of them counts: the object itself tells."""
