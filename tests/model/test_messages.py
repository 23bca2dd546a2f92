"""A broken body carries its failure."""

from proxy.model import BodyBroken, FailureKind, OriginFailure


def test_a_broken_body_says_what_failed() -> None:
    failure = OriginFailure(FailureKind.BROKEN_BODY, "3 of 10 bytes")

    assert BodyBroken(failure).failure is failure
    assert str(BodyBroken(failure)) == "broken-body: 3 of 10 bytes"
