from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.schema import Forwarded
from proxy.config.section import known_keys
from tests.support.configs import config, route


def test_keys_are_named_as_in_the_yaml() -> None:
    assert known_keys(Forwarded) == ("via", "for", "host", "proto")


def test_known_key_without_value_is_as_if_absent() -> None:
    given = config(listen=None, admin={"token_file": None}, routes=[route(ttl=None)], defaults={"ttl": "1m"})

    assert given == config(routes=[route()], defaults={"ttl": "1m"})


def test_unknown_key_without_value_is_still_unknown() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        config(lisen=None)


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config().workers = 2  # type: ignore[misc]
