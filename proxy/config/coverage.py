"""Does one path pattern match every path that another one matches?

Both are turned into automata over single characters and walked together; exact, and bounded in work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.config import patterns

MOST_STATES = 2_000
"""Beyond it the answer is no: only a report is lost, and no pattern that people write comes near."""

_ANY = "any character"
_IN_SEGMENT = "any character but /"
_OTHER = "\0"
"""Stands for all characters that neither pattern names."""


_States = frozenset[int]


@dataclass(slots=True)
class Paths:
    """All paths that a pattern matches: an automaton whose states count from 0, and the last ends a match."""

    steps: list[list[tuple[str, int]]] = field(default_factory=lambda: [[]])
    skips: dict[int, int] = field(default_factory=dict)
    """Steps that take no character."""
    characters: set[str] = field(default_factory=set)
    """All that the pattern names."""
    example: str = ""
    """One of the paths: most pairs of patterns are told apart by it alone."""

    def step(self, symbol: str) -> None:
        self.steps[-1].append((symbol, len(self.steps)))
        self.steps.append([])

    def loop(self, symbol: str) -> None:
        self.steps[-1].append((symbol, len(self.steps) - 1))

    def start(self) -> _States:
        return self._with_skips({0})

    def after(self, states: _States, character: str) -> _States:
        """Where `character` leads from any of the states."""
        return self._with_skips(
            target for state in states for symbol, target in self.steps[state] if _takes(symbol, character)
        )

    def is_end(self, states: _States) -> bool:
        return len(self.steps) - 1 in states

    def accepts(self, path: str) -> bool:
        states = self.start()
        for character in path:
            states = self.after(states, character)
            if not states:
                return False
        return self.is_end(states)

    def _with_skips(self, targets: Iterable[int]) -> _States:
        states: set[int] = set()
        for target in targets:
            state: int | None = target
            while state is not None:
                states.add(state)
                state = self.skips.get(state)
        return frozenset(states)


def _takes(symbol: str, character: str) -> bool:
    return symbol in {character, _ANY} or (symbol == _IN_SEGMENT and character != "/")


def paths(pattern: str) -> Paths:
    """The paths that the pattern matches."""
    automaton = Paths(characters=set(patterns.canonical(pattern)), example=_example(pattern))
    for segment in patterns.segments(pattern):
        if segment == patterns.ANY_DEPTH:
            _add_any_depth(automaton)
        else:
            automaton.step("/")
            _add_segment(automaton, segment)
    return automaton


def covers(earlier: Paths, later: Paths) -> bool:
    """Whether no path is among `later` without being among `earlier`."""
    if not earlier.accepts(later.example):
        return False
    alphabet = {"/", _OTHER, *earlier.characters, *later.characters}
    waiting = [(earlier.start(), later.start())]
    seen = set(waiting)
    while waiting:
        ones, others = waiting.pop()
        if len(seen) > MOST_STATES or (later.is_end(others) and not earlier.is_end(ones)):
            return False
        for character in alphabet:
            pair = earlier.after(ones, character), later.after(others, character)
            if pair[1] and pair not in seen:
                seen.add(pair)
                waiting.append(pair)
    return True


def _add_any_depth(automaton: Paths) -> None:
    """Nothing at all, or a slash and whatever follows."""
    before = len(automaton.steps) - 1
    automaton.step("/")
    automaton.loop(_ANY)
    within = len(automaton.steps) - 1
    automaton.steps.append([])
    automaton.skips |= {before: within + 1, within: within + 1}


def _add_segment(automaton: Paths, segment: str) -> None:
    for piece in patterns.WILDCARD.split(segment):
        if not patterns.WILDCARD.fullmatch(piece):
            for character in patterns.canonical(piece):
                automaton.step(character)
            continue
        # A wildcard alone never makes a segment out of nothing, and a parameter has at least one character.
        if piece != "*" or not segment.strip("*"):
            automaton.step(_IN_SEGMENT)
        automaton.loop(_IN_SEGMENT)


def _example(pattern: str) -> str:
    kept = [segment for segment in patterns.segments(pattern) if segment != patterns.ANY_DEPTH]
    return "".join(f"/{patterns.canonical(patterns.WILDCARD.sub(_OTHER, segment))}" for segment in kept)
