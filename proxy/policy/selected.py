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

Mark = TypeVar("Mark", Position, float)
Keyed = Callable[[bytes | None, bytes], Collection[bytes]]
"""(host, target) -> the target as each route that may keep an answer to it keys it; None: every host."""
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
        self._keyed = keyed
        self._bounds = bounds
        self._narrow: dict[Selector, _Kept[Mark]] = {}
        self._broad: dict[Selector, _Kept[Mark]] = {}
        self._newest: dict[Key, Mark] = {}
        self._listed: list[_Listed[Mark]] = []
        self._slots: dict[int, Mark] = {}

    def __len__(self) -> int:
        return len(self._narrow) + len(self._broad)

    @property
    def folded(self) -> int:
        """Slots in use."""
        return len(self._slots)

    def add(self, selector: Selector, mark: Mark) -> None:
        """The selector was applied at `mark`. One that makes no sense to us selects everything."""
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
        marks = (self._slots.get(slot) for slot in _slots_of(entry.target, entry.tags))
        return any(mark is not None and (since is None or mark > since) for mark in marks)

    def forget(self, *, before: Mark) -> None:
        """Selectors older than `before` concern nobody any more."""
        for group in (self._narrow, self._broad):
            while group and next(iter(group.values())).mark < before:
                self._drop(group.pop(next(iter(group))))
        self._slots = {slot: mark for slot, mark in self._slots.items() if mark >= before}
        if self.floor is not None and self.floor < before:
            self.floor = None

    def read_again(self, keyed: Keyed) -> Selected[Mark]:
        """The same under other routes. Slots hold paths and tags, which no route changes."""
        copy = Selected[Mark](keyed, self._bounds, self.floor)
        copy._slots = dict(self._slots)
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
        if any(_slot(key) is not None for key in kept.keys):
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
        slots = [slot for key in kept.keys if (slot := _slot(key)) is not None]
        for slot in slots:
            known = self._slots.get(slot)
            self._slots[slot] = kept.mark if known is None else max(known, kept.mark)
        if not slots:
            self.floor = kept.mark if self.floor is None else max(self.floor, kept.mark)


def _url_keys(value: str, keyed: Keyed) -> tuple[Key, ...]:
    place = place_of(value)
    # As written too: an entry whose keyed target is exactly this was meant, whatever the routes say now.
    targets = {place.target, *keyed(place.host, place.target)}
    return tuple((place.host, target) for target in targets)


def _mark_of(listed: _Listed[Mark]) -> Mark:
    return listed.mark


def _slots_of(target: bytes, tags: tuple[bytes, ...]) -> Iterator[int]:
    yield hash(target.partition(b"?")[0]) % SLOTS
    for tag in tags:
        yield SLOTS + hash(tag) % SLOTS


def _slot(key: Key) -> int | None:
    """URLs of one path share a slot, on every host; tags have slots of their own."""
    if isinstance(key, bytes):
        return SLOTS + hash(key) % SLOTS
    return hash(key[1].partition(b"?")[0]) % SLOTS if len(key) == 2 else None


def _prefix(value: str) -> tuple[bytes | None, Callable[[bytes], bool]]:
    host, prefix = place_of(value)
    return host, lambda target: target.startswith(prefix)


def _pattern(value: str) -> tuple[bytes | None, Callable[[bytes], bool]]:
    host, pattern = split_host(value)
    glob = compile_glob(pattern)

    def matches(target: bytes) -> bool:
        path = canonical_path(target)
        return path is not None and glob.matches(path) is not None

    return host, matches


_MATCHERS = {SelectorKind.PREFIX: _prefix, SelectorKind.PATTERN: _pattern}
