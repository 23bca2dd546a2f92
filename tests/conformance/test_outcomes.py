"""What a run of the suite is held against: a case counts only as the suite itself would count it."""

import pytest

from tests.conformance.listing import HEADING, known_cases
from tests.conformance.outcomes import Case, Known, Outcome, run_of, verdict
from tests.conformance.scoreboard import peers, scoreboard
from tests.support.sidecar import ROOT

ASSERTION = ["Assertion", "Response 2 comes from cache"]


def case(identifier: str, *depends_on: str, kind: str = "required", suite: str = "s", **how: bool) -> Case:
    return Case(identifier, suite, kind, identifier, list(depends_on), **how)


@pytest.mark.parametrize(
    ("results", "outcome"),
    [
        ({"a": True, "b": True, "c": True}, Outcome.PASSED),
        ({"a": True, "b": True, "c": ASSERTION}, Outcome.FAILED),
        ({"a": True, "b": ASSERTION, "c": True}, Outcome.DEPENDENCY_FAILED),
        ({"a": ASSERTION, "b": True, "c": True}, Outcome.DEPENDENCY_FAILED),
        ({"b": True, "c": True}, Outcome.DEPENDENCY_FAILED),
        ({"a": True, "b": True}, Outcome.NOT_RUN),
    ],
)
def test_a_case_passes_only_with_all_that_it_depends_on(results: dict[str, object], outcome: Outcome) -> None:
    run = run_of([case("a"), case("b", "a"), case("c", "b")], results)

    assert run.outcomes["c"] is outcome


def test_cases_for_browsers_are_not_ours() -> None:
    assert run_of([case("a", is_for_browsers=True)], {}).cases == ()


def test_checks_and_the_suite_apart_are_outside_the_bar() -> None:
    cases = [case("a"), case("b", kind="check"), case("c", suite="surrogate-control")]
    run = run_of(cases, {each.id: ASSERTION for each in cases})

    assert [each.id for each in run.short()] == ["a"]


RUN = run_of([case("a"), case("b"), case("c", kind="optimal")], {"a": True, "b": ASSERTION, "c": ASSERTION})


def test_exactly_what_is_listed_may_fall_short() -> None:
    known = [Known("b", "both", "both", ""), Known("c", "0.4.5", "safe", "")]

    assert verdict(RUN, known, suite="0.4.5", profile="safe").is_good


def test_what_is_not_listed_may_not() -> None:
    judged = verdict(RUN, [Known("b", "both", "both", "")], suite="0.4.5", profile="safe")

    assert ([each.id for each in judged.unexpected], judged.is_good) == (["c"], False)


@pytest.mark.parametrize("known", [Known("a", "both", "safe", ""), Known("gone", "both", "both", "")])
def test_what_is_listed_and_passes_or_is_gone_is_a_fault_of_the_list(known: Known) -> None:
    rest = [Known("b", "both", "both", ""), Known("c", "both", "both", "")]
    judged = verdict(RUN, [*rest, known], suite="0.4.5", profile="safe")

    assert (judged.outlived, judged.is_good) == ((known.id,), False)


def test_a_row_counts_for_its_suite_and_profile_only() -> None:
    assert [
        Known("a", "newer", "safe", "").holds(suite, profile)
        for suite in ("newer", "0.4.5")
        for profile in ("safe", "rfc9111")
    ] == [True, False, False, False]


def test_the_list_in_the_docs_is_read_row_by_row() -> None:
    known = {entry.id: entry for entry in known_cases(ROOT / "docs" / "http-support.md")}

    assert known["other-set-cookie"].profile == "safe"
    assert known["stale-close-s-maxage=2"].suite == "0.4.5"
    assert all(entry.reason and entry.suite in ("0.4.5", "newer", "both") for entry in known.values())
    assert all(entry.profile in ("safe", "rfc9111", "both") for entry in known.values())


def test_a_document_without_the_list_is_no_empty_list(tmp_path) -> None:
    document = tmp_path / "docs.md"
    document.write_text("# HTTP support\n")

    with pytest.raises(ValueError, match=HEADING):
        known_cases(document)


def test_the_scoreboard_names_what_fell_short_in_the_suites_words() -> None:
    judged = verdict(RUN, [Known("b", "both", "both", "")], suite="0.4.5", profile="safe")
    lines = list(scoreboard("title", RUN, judged))

    assert lines[:2] == ["== title", "   required      2 cases:    1 passed    1 failed"]
    assert "   known   b: Assertion: Response 2 comes from cache" in lines
    assert "   FAILED  c (optimal): failed; Assertion: Response 2 comes from cache" in lines


def test_ours_stands_beside_what_is_published() -> None:
    lines = list(peers(157, 86))

    assert lines[1].split() == ["sidecache,", "this", "run", "157", "86"]
    assert lines[-1].split() == ["HAProxy", "89", "40"]
