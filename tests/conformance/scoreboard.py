"""A run as text: the score, beside what is published of others; what fell short, in the suite's own words."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.outcomes import APART, COUNTED, Outcome, Run, Verdict

PEERS = (
    ("Apache Traffic Server", 132, 70),
    ("Apache httpd", 131, 68),
    ("Squid", 122, 59),
    ("Caddy with Souin", 121, 44),
    ("Varnish", 119, 45),
    ("nginx", 99, 59),
    ("Fastly", 96, 49),
    ("HAProxy", 89, 40),
)
"""Published results of the newer suite: passed of 160 required and of 105 optimal cases."""

_KINDS = (*COUNTED, "check")


def scoreboard(title: str, run: Run, judged: Verdict) -> Iterator[str]:
    """The lines that tell of a run."""
    yield f"== {title}"
    for kind in _KINDS:
        yield _score(kind, run, apart=False)
    if any(case.suite in APART for case in run.cases):
        yield f"   outside the bar: {', '.join(sorted(APART))}"
        yield from (_score(kind, run, apart=True) for kind in _KINDS)
    yield from _by_suite(run)
    for case in judged.known:
        yield f"   known   {case.id}: {run.explanations[case.id]}"
    for case in judged.unexpected:
        outcome = run.outcomes[case.id].value
        yield f"   FAILED  {case.id} ({case.kind}): {outcome}; {run.explanations[case.id]}"
    for identifier in judged.outlived:
        yield f"   FAILED  {identifier}: listed as falling short, but it does not (any more)"


def peers(required: int, optimal: int) -> Iterator[str]:
    """Ours beside the published figures; ours may be of another release of the suite."""
    yield f"   {'':24}{'required':>10}{'optimal':>10}"
    yield f"   {'sidecache, this run':24}{required:>10}{optimal:>10}"
    for name, its_required, its_optimal in PEERS:
        yield f"   {name:24}{its_required:>10}{its_optimal:>10}"


def _score(kind: str, run: Run, *, apart: bool) -> str:
    counted = run.of_kind(kind, apart=apart)
    words = "".join(f"{counted[outcome]:>5} {outcome.value}" for outcome in Outcome if counted[outcome])
    return f"   {kind:10}{counted.total():>5} cases:{words}"


def _by_suite(run: Run) -> Iterator[str]:
    """The suites in which a case within the bar did not pass."""
    for suite in dict.fromkeys(case.suite for case in run.short()):
        cases = [case for case in run.cases if case.suite == suite and case.kind in COUNTED]
        passed = sum(run.outcomes[case.id] is Outcome.PASSED for case in cases)
        yield f"   in {suite}: {passed} of {len(cases)} passed"
