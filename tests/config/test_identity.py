from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.identity import Identity
from tests.support.configs import config


@pytest.mark.parametrize(
    ("given", "identity"),
    [
        ("rfc9111", Identity("rfc9111")),
        ("shared", Identity("shared")),
        ({"header": "X-User"}, Identity("header", "x-user")),
        ({"cookie": "Sid"}, Identity("cookie", "Sid")),
        (Identity("cookie", "Sid"), Identity("cookie", "Sid")),
    ],
)
def test_identity_names_who_an_answer_is_for(given: object, identity: Identity) -> None:
    assert config(defaults={"identity": given}).defaults.identity == identity


@pytest.mark.parametrize(
    "given",
    ["header", {}, {"header": "a b"}, {"header": "X", "cookie": "y"}, {"kind": "shared"}, ["shared"], 1],
)
def test_other_identities_are_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="expected"):
        config(defaults={"identity": given})


@pytest.mark.parametrize(
    ("given", "ignored"),
    [(["utm", "Lang"], ("utm", "Lang")), ([], ()), (True, True), ("yes", True), (False, ()), ("off", ())],
)
def test_ignored_cookies_are_names_or_all(given: object, ignored: object) -> None:
    assert config(defaults={"ignore_cookies": given}).defaults.ignore_cookies == ignored


@pytest.mark.parametrize("given", ["all", ["a b"], [1], {"utm": 1}, 7])
def test_other_ignored_cookies_are_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="expected"):
        config(defaults={"ignore_cookies": given})
