from __future__ import annotations

import pytest

from proxy.config.flags import defaults_for_origin
from proxy.config.loading import Faults, Loaded

FLAGS = {"listen": "0.0.0.0:8080", "ops": "0.0.0.0:9901", "admin": "127.0.0.1:9902", "profile": "safe"}


def test_origin_alone_makes_a_shared_cache_in_memory() -> None:
    result = defaults_for_origin("http://h:8000", **FLAGS)

    assert isinstance(result, Loaded)
    assert (result.config.origin.url, result.config.unmatched) == ("http://h:8000", "cache")
    assert (result.config.l2.url, result.config.routes, result.warnings) == ("off", (), ())


def test_ports_may_be_off() -> None:
    result = defaults_for_origin("http://h", **{**FLAGS, "ops": "off", "admin": "off"})

    assert isinstance(result, Loaded)
    assert (result.config.ops.listen, result.config.admin.listen) == (None, None)


@pytest.mark.parametrize(
    ("flags", "faults"),
    [
        ({"listen": "x"}, ['--listen: found "x", expected host:port such as 0.0.0.0:8080,']),
        ({"profile": "saef"}, ['--profile: found "saef", expected safe or rfc9111; did you mean safe?']),
        ({"ops": "0.0.0.0:8080"}, ["--ops: found 0.0.0.0:8080, expected another address than listen"]),
        ({"admin": "0.0.0.0:1"}, ["--admin: found 0.0.0.0:1 without a token, expected admin.token"]),
    ],
)
def test_fault_names_its_flag(flags: dict[str, str], faults: list[str]) -> None:
    result = defaults_for_origin("http://h", **{**FLAGS, **flags})

    assert isinstance(result, Faults)
    assert len(result.faults) == len(faults)
    for found, expected in zip(result.faults, faults, strict=True):
        assert str(found).startswith(expected)


def test_fault_in_the_origin_names_its_flag() -> None:
    result = defaults_for_origin("h:8000", **FLAGS)

    assert (
        str(result)
        == '--origin: found "h:8000", expected http://host:port, https://host:port or unix:/path/of.sock'
    )


def test_token_opens_the_admin_port_and_is_judged() -> None:
    result = defaults_for_origin("http://h", **{**FLAGS, "admin": "0.0.0.0:1"}, token="short")

    assert isinstance(result, Loaded)
    assert [str(warning) for warning in result.warnings] == ["admin.token: shorter than 16 characters"]


def test_profile_is_warned_of() -> None:
    result = defaults_for_origin("http://h", **{**FLAGS, "profile": "rfc9111"})

    assert isinstance(result, Loaded)
    assert [str(warning) for warning in result.warnings] == [
        "--profile: rfc9111: answers with Set-Cookie are stored and shared"
    ]
