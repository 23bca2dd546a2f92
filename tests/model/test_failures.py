"""Every failure of the origin has a word of its own and a status that clients may get."""

from proxy.model import FailureKind, OriginFailure


def test_words_are_unique_and_statuses_are_errors() -> None:
    assert len({kind.word for kind in FailureKind}) == len(FailureKind)
    assert {kind.status for kind in FailureKind} == {400, 502, 503, 504}


def test_a_failure_reads_as_its_word_and_detail() -> None:
    assert str(OriginFailure(FailureKind.REFUSED)) == "refused"
    assert str(OriginFailure(FailureKind.RESET, "after 3 bytes")) == "reset: after 3 bytes"
