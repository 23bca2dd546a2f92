"""What was selected for invalidation and the newest mark of each: a position in the log, or an instant.

Bounded (R12): URLs and tags beyond the bound fold into hashed slots, all else into a floor. Folding makes
more entries look selected, never fewer. Marks may be added out of order. Knows no epochs and no modes.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from proxy.model import Position, StoredResponse
from proxy.policy.globs import compile_glob
from proxy.policy.invalidation import EVERYTHING, Selector, SelectorKind
from proxy.policy.places import place_of, split_host
from proxy.policy.targets import canonical_path

SLOTS = 4096
"""For the URLs of each route, and as many for all tags: a flood of one route leaves the others their hits."""
MOST_SLOTS = 16 * SLOTS
"""About 15 MB. Where more routes than that are flooded, all of them share their slots."""
_ALL = ""
"""In place of a route's name: slots that concern every route."""

Mark = TypeVar("Mark", Position, float)
Keyed = Callable[[bytes | None, bytes], Collection[tuple[str, bytes]]]
"""(host, target) -> each route that may keep an answer to it, with the target as it keys it.

The host None means every host."""
Slot = tuple[str, int]
Key = tuple[bytes | None, bytes] | bytes | tuple[str] | tuple[()]
"""A URL, a tag, a route or everything: no two of them are ever equal."""


class Bounds(NamedTuple):
    """How many selectors are known exactly."""

    narrow: int = 10_000
    """URLs and tags: a dictionary entry each, about 500 bytes."""
    broad: int = 1_000
    """Prefixes and patterns, compared one by one, routes and everything."""


@dataclass(frozen=True, slots=True)
class _Listed(Generic[Mark]):
    """A prefix or a pattern: what no dictionary finds."""

    mark: Mark
    host: bytes | None
    matches: Callable[[bytes], bool]

    def selects(self, entry: StoredResponse) -> bool:
        """Is the entry on the host, and its target under the prefix or pattern?"""
        return (self.host is None or self.host == entry.host) and self.matches(entry.target)


@dataclass(slots=True)
class _Kept(Generic[Mark]):
    mark: Mark
    keys: tuple[Key, ...] = ()
    listed: _Listed[Mark] | None = None


def keys_of(entry: StoredResponse) -> tuple[Key, ...]:
    """All keys under which a selector may name the entry."""
    return (entry.host, entry.target), (None, entry.target), *entry.tags, (entry.route,), ()


class Selected(Generic[Mark]):
    """Selectors of one mode. The raw ones are kept, so that other routes can read them again."""

    def __init__(self, keyed: Keyed, bounds: Bounds, floor: Mark | None = None) -> None:
        self.floor: Mark | None = floor
        """Whatever is older may have been selected."""
        self.latest: Mark | None = floor
        """No mark here is later; what had a later one may be gone. None: nothing is here.

        Where none is newer than an instant, no entry is, or may be, selected since then.
        """
        self._keyed = keyed
        self._bounds = bounds
        self._narrow: dict[Selector, _Kept[Mark]] = {}
        self._broad: dict[Selector, _Kept[Mark]] = {}
        self._newest: dict[Key, Mark] = {}
        self._listed: list[_Listed[Mark]] = []
        self._slots: dict[Slot, Mark] = {}
        self._flooded: set[str] = set()
        """Routes that have slots, or had some."""

    def __len__(self) -> int:
        return len(self._narrow) + len(self._broad)

    @property
    def folded(self) -> int:
        """Slots in use."""
        return len(self._slots)

    def add(self, selector: Selector, mark: Mark) -> None:
        """The selector was applied at `mark`. One that makes no sense to us selects everything."""
        if self.latest is None or mark > self.latest:
            self.latest = mark
        kept = self._compile(selector, mark)
        group, most = self._group(kept)
        previous = group.pop(selector, None)
        if previous is not None:
            if previous.mark > mark:
                group[selector] = previous
                return
            self._drop(previous)
        group[selector] = kept
        self._enter(kept)
        if len(group) > most:
            self._fold_oldest(group)

    def selects(self, entry: StoredResponse, keys: tuple[Key, ...], since: Mark | None) -> bool:
        """Does a selector newer than `since` (None: any) name the entry, whose keys these are?"""
        for key in keys:
            mark = self._newest.get(key)
            if mark is not None and (since is None or mark > since):
                return True
        for listed in reversed(self._listed):
            if since is not None and listed.mark <= since:
                return False
            if listed.selects(entry):
                return True
        return False

    def may_select(self, entry: StoredResponse, since: Mark | None) -> bool:
        """Could a selector newer than `since` that is no longer known exactly have named the entry?"""
        if self.floor is not None and (since is None or self.floor > since):
            return True
        if not self._slots:
            return False
        marks = (self._slots.get(slot) for slot in self._slots_of_entry(entry))
        return any(mark is not None and (since is None or mark > since) for mark in marks)

    def forget(self, *, before: Mark) -> None:
        """Selectors older than `before` concern nobody any more."""
        for group in (self._narrow, self._broad):
            while group and next(iter(group.values())).mark < before:
                self._drop(group.pop(next(iter(group))))
        self._slots = {slot: mark for slot, mark in self._slots.items() if mark >= before}
        if self.floor is not None and self.floor < before:
            self.floor = None
        if self.floor is None and not (self._narrow or self._broad or self._slots):
            self.latest = None

    def read_again(self, keyed: Keyed) -> Selected[Mark]:
        """The same under other routes. Slots hold paths and tags; of which routes is not known any more."""
        copy = Selected[Mark](keyed, self._bounds, self.floor)
        copy._slots = dict(self._slots)
        copy.latest = self.latest
        copy._share_slots()
        for group in (self._narrow, self._broad):
            for selector, kept in group.items():
                copy.add(selector, kept.mark)
        return copy

    def _compile(self, selector: Selector, mark: Mark) -> _Kept[Mark]:
        try:
            if selector.kind in _MATCHERS:
                host, matches = _MATCHERS[selector.kind](selector.value)
                return _Kept(mark, listed=_Listed(mark, host, matches))
            return _Kept(mark, self._keys(selector))
        except ValueError:
            # Written by a newer version, or by nobody of ours: it may mean any entry.
            return _Kept(mark, self._keys(EVERYTHING))

    def _keys(self, selector: Selector) -> tuple[Key, ...]:
        match selector.kind:
            case SelectorKind.URL:
                return _url_keys(selector.value, self._keyed)
            case SelectorKind.TAG:
                return (selector.value.encode(),)
            case SelectorKind.ROUTE:
                return ((selector.value,),)
            case _:
                return ((),)

    def _group(self, kept: _Kept[Mark]) -> tuple[dict[Selector, _Kept[Mark]], int]:
        if any(_slot_number(key) is not None for key in kept.keys):
            return self._narrow, self._bounds.narrow
        return self._broad, self._bounds.broad

    def _enter(self, kept: _Kept[Mark]) -> None:
        for key in kept.keys:
            known = self._newest.get(key)
            self._newest[key] = kept.mark if known is None else max(known, kept.mark)
        if kept.listed is not None:
            insort(self._listed, kept.listed, key=_mark_of)

    def _drop(self, kept: _Kept[Mark]) -> None:
        for key in kept.keys:
            if self._newest.get(key) == kept.mark:
                del self._newest[key]
        if kept.listed is not None:
            self._listed.remove(kept.listed)

    def _fold_oldest(self, group: dict[Selector, _Kept[Mark]]) -> None:
        kept = group.pop(next(iter(group)))
        self._drop(kept)
        slots = {slot for key in kept.keys for slot in self._slots_of_key(key)}
        for slot in slots:
            self._raise_slot(slot, kept.mark)
        if len(self._slots) > MOST_SLOTS:
            self._share_slots()
        if not slots:
            self.floor = kept.mark if self.floor is None else max(self.floor, kept.mark)

    def _slots_of_key(self, key: Key) -> Iterator[Slot]:
        number = _slot_number(key)
        if number is None:
            return
        # A tag concerns every route, and so does a URL that none of ours keeps.
        routes = self._routes_of(*key) if isinstance(key, tuple) and len(key) == 2 else ()
        for route in routes or (_ALL,):
            yield route, number

    def _slots_of_entry(self, entry: StoredResponse) -> Iterator[Slot]:
        """By our routes, not by the one that it was stored under: both sides must be placed alike."""
        number = _slot_of_path(entry.target)
        yield _ALL, number
        for route in self._routes_of(entry.host, entry.target) or self._flooded:
            yield route, number
        for tag in entry.tags:
            yield _ALL, _slot_of_tag(tag)

    def _routes_of(self, host: bytes | None, target: bytes) -> set[str]:
        return {route for route, _ in self._keyed(host, target)}

    def _raise_slot(self, slot: Slot, mark: Mark) -> None:
        known = self._slots.get(slot)
        self._slots[slot] = mark if known is None else max(known, mark)
        self._flooded.add(slot[0])

    def _share_slots(self) -> None:
        slots, self._slots = self._slots, {}
        self._flooded.clear()
        for (_, number), mark in slots.items():
            self._raise_slot((_ALL, number), mark)


def _url_keys(value: str, keyed: Keyed) -> tuple[Key, ...]:
    place = place_of(value)
    # As written too: an entry whose keyed target is exactly this was meant, whatever the routes say now.
    targets = {place.target, *(target for _, target in keyed(place.host, place.target))}
    return tuple((place.host, target) for target in targets)


def _mark_of(listed: _Listed[Mark]) -> Mark:
    return listed.mark


def _slot_number(key: Key) -> int | None:
    """Tags have slots of their own; None for what is not folded into slots."""
    if isinstance(key, bytes):
        return _slot_of_tag(key)
    return _slot_of_path(key[1]) if len(key) == 2 else None


def _slot_of_tag(tag: bytes) -> int:
    return SLOTS + hash(tag) % SLOTS


def _slot_of_path(target: bytes) -> int:
    """URLs of one path share a slot, on every host."""
    return hash(target.partition(b"?")[0]) % SLOTS


def _prefix(value: str) -> tuple[bytes | None, Callable[[bytes], bool]]:
    host, prefix = place_of(value)
    return host, lambda target: target.startswith(prefix)


def _pattern(value: str) -> tuple[bytes | None, Callable[[bytes], bool]]:
    host, pattern = split_host(value)
    glob = compile_glob(pattern)

    def matches(target: bytes) -> bool:
        path = canonical_path(target)
        return path is not None and glob.takes(path)

    return host, matches


_MATCHERS = {SelectorKind.PREFIX: _prefix, SelectorKind.PATTERN: _pattern}
