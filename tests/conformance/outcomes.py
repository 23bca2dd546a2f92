"""What came of each case, what may fall short, and what that makes of a run. Knows no process and no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

APART = frozenset({"surrogate-control"})
"""Suites outside the bar: of the old release only, replaced by RFC 9213."""
COUNTED = ("required", "optimal")
"""The kinds that the bar counts; `check` only asks how a cache behaves."""


class Outcome(Enum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    DEPENDENCY_FAILED = "dependency failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Case:
    """One case, as the suite describes it."""

    id: str
    suite: str
    kind: str
    name: str
    depends_on: list[str] = field(default_factory=list)
    is_for_browsers: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A case that is known to fall short, and why."""

    id: str
    suite: str
    """The suite's version, or `both`."""
    profile: str
    """The profile, or `both`."""
    reason: str

    def holds(self, suite: str, profile: str) -> bool:
        """Is it known of this run?"""
        return self.suite in (suite, "both") and self.profile in (profile, "both")


@dataclass(frozen=True, slots=True)
class Run:
    """All cases of one run that a proxy takes, with their outcomes and the suite's own explanations."""

    cases: tuple[Case, ...]
    outcomes: Mapping[str, Outcome]
    explanations: Mapping[str, str]

    def of_kind(self, kind: str, *, apart: bool = False) -> Counter[Outcome]:
        """How many cases of this kind ended how."""
        chosen = (case for case in self.cases if case.kind == kind and (case.suite in APART) is apart)
        return Counter(self.outcomes[case.id] for case in chosen)

    def short(self) -> list[Case]:
        """The cases within the bar that did not pass."""
        counted = (case for case in self.cases if case.kind in COUNTED and case.suite not in APART)
        return [case for case in counted if self.outcomes[case.id] is not Outcome.PASSED]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A run held against what is known."""

    known: tuple[Case, ...]
    unexpected: tuple[Case, ...]
    """Fell short, and nobody said so."""
    outlived: tuple[str, ...]
    """Listed as falling short, yet passed or gone."""

    @property
    def is_good(self) -> bool:
        """Exactly what is listed fell short."""
        return not self.unexpected and not self.outlived


def run_of(cases: Iterable[Case], results: Mapping[str, object]) -> Run:
    """The run that the suite's own results describe."""
    taken = tuple(case for case in cases if not case.is_for_browsers)
    own = {case.id: _own_outcome(results.get(case.id)) for case in taken}
    by_id = {case.id: case for case in taken}
    outcomes = {case.id: _outcome(case, own, by_id) for case in taken}
    explanations = {case.id: _explanation(results.get(case.id)) for case in taken}
    return Run(taken, outcomes, explanations)


def verdict(run: Run, known: Iterable[Known], *, suite: str, profile: str) -> Verdict:
    """What of the run was known, what was not, and what of the known is no longer true."""
    expected = {entry.id for entry in known if entry.holds(suite, profile)}
    short = run.short()
    return Verdict(
        tuple(case for case in short if case.id in expected),
        tuple(case for case in short if case.id not in expected),
        tuple(sorted(expected - {case.id for case in short})),
    )


def _own_outcome(result: object) -> Outcome:
    if result is None:
        return Outcome.NOT_RUN
    return Outcome.PASSED if result is True else Outcome.FAILED


def _outcome(case: Case, own: Mapping[str, Outcome], by_id: Mapping[str, Case]) -> Outcome:
    """What a case says counts only if all that it depends on passed."""
    if own[case.id] is Outcome.NOT_RUN:
        return Outcome.NOT_RUN
    needed = (by_id[name] for name in case.depends_on if name in by_id)
    stand = (_outcome(each, own, by_id) is Outcome.PASSED for each in needed)
    return own[case.id] if all(stand) else Outcome.DEPENDENCY_FAILED


def _explanation(result: object) -> str:
    if isinstance(result, list):
        return ": ".join(str(part) for part in result)
    return "" if result is True else "the suite gave no result"
