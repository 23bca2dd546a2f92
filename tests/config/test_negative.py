from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.negative import Negative


def test_statuses_are_keys_and_server_errors_stand_apart() -> None:
    negative = Negative.model_validate({404: "30s", "410": "5m", "errors": {"500": "1s", 599: 2}})

    assert negative.statuses == {404: 30.0, 410: 300.0}
    assert negative.errors == {500: 1.0, 599: 2.0}


@pytest.mark.parametrize("given", [{}, {"errors": {}}, {"errors": None}])
def test_nothing_is_remembered_unless_asked(given: object) -> None:
    assert Negative.model_validate(given) == Negative()


@pytest.mark.parametrize(
    "given",
    [
        {399: "1s"},
        {500: "1s"},
        {"0404": "1s"},
        {"errors": {499: "1s"}},
        {"errors": {600: "1s"}},
        {"errors": "1s"},
        {"statuses": {404: "1s"}},
        {404: None},
        "404",
    ],
)
def test_other_statuses_are_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        Negative.model_validate(given)


def test_written_as_read() -> None:
    negative = Negative.model_validate({404: "30s", "errors": {500: "1s"}})

    assert negative.model_dump() == {404: 30.0, "errors": {500: 1.0}}
