"""Header fields as they came over the wire."""

from __future__ import annotations

from collections.abc import Iterable, KeysView

FieldLine = tuple[bytes, bytes]


class Fields:
    """Header fields as received: order, duplicates, case and bytes are kept.

    Look-ups take lower-case names; the index is built on the first look-up.
    """

    __slots__ = ("_index", "lines")

    def __init__(self, lines: Iterable[FieldLine] = ()) -> None:
        self.lines: tuple[FieldLine, ...] = tuple(lines)
        self._index: dict[bytes, list[bytes]] | None = None

    def _by_name(self) -> dict[bytes, list[bytes]]:
        if self._index is not None:
            return self._index
        index: dict[bytes, list[bytes]] = {}
        for name, value in self.lines:
            lowered = name.lower()
            if lowered in index:
                index[lowered].append(value)
            else:
                index[lowered] = [value]
        self._index = index
        return index

    def __contains__(self, name: bytes) -> bool:
        return name in self._by_name()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(self.lines)

    def __repr__(self) -> str:
        return f"Fields({list(self.lines)!r})"

    def names(self) -> KeysView[bytes]:
        """The names that occur, in lower case, each once."""
        return self._by_name().keys()

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field, one per line, in order; empty when absent."""
        return self._by_name().get(name, [])

    def first(self, name: bytes) -> bytes | None:
        """The value of the field's first line; None when absent."""
        values = self._by_name().get(name)
        return values[0] if values else None

    def combined(self, name: bytes) -> bytes | None:
        """All lines of a list field as one value (RFC 9110 §5.3); None when absent."""
        values = self._by_name().get(name)
        return b", ".join(values) if values else None

    def without(self, names: Iterable[bytes]) -> Fields:
        """A copy that lacks the named fields (lower-case names)."""
        index = self._by_name()
        unwanted = frozenset(names)
        if unwanted.isdisjoint(index):
            return self
        copy = Fields([line for line in self.lines if line[0].lower() not in unwanted])
        # What has been looked up in these fields is looked up in the copy.
        copy._index = {name: values for name, values in index.items() if name not in unwanted}
        return copy

    def plus(self, lines: Iterable[FieldLine]) -> Fields:
        """A copy with more lines at the end."""
        copy = Fields((*self.lines, *lines))
        if self._index is not None:
            copy._index = dict(self._index)
            for name, value in copy.lines[len(self.lines) :]:
                lowered = name.lower()
                copy._index[lowered] = [*copy._index.get(lowered, ()), value]
        return copy

    def encode(self) -> bytes:
        """The lines as they stand in a head: `Name: value CRLF`, without the empty line."""
        return encode_lines(self.lines)

    @classmethod
    def decode(cls, encoded: bytes) -> Fields:
        """The inverse of `encode`, for heads that we wrote ourselves."""
        lines = (line.partition(b": ") for line in encoded.split(b"\r\n")[:-1])
        return cls((name, value) for name, _, value in lines)


def encode_lines(lines: Iterable[FieldLine]) -> bytes:
    """Lines as they stand in a head, each with its end."""
    return b"\r\n".join([*map(b": ".join, lines), b""])
