from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.config.schema import SECRET_FILES, Config
from proxy.config.section import Section
from tests.support.configs import ORIGIN, config, faults_of, route


def sections(section: type[Section] = Config) -> Iterator[type[Section]]:
    yield section
    for field in section.model_fields.values():
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from sections(candidate)


FIELDS = [
    pytest.param(section, name, field, id=f"{section.__name__}.{name}")
    for section in dict.fromkeys(sections())
    for name, field in section.model_fields.items()
]


@pytest.mark.parametrize(("section", "name", "field"), FIELDS)
def test_every_key_says_what_it_means(section: type[Section], name: str, field: FieldInfo) -> None:
    assert field.description
    assert field.description.rstrip().endswith(".")


@pytest.mark.parametrize(("section", "name", "field"), FIELDS)
def test_default_that_is_told_is_the_default(section: type[Section], name: str, field: FieldInfo) -> None:
    """`Default: 64KiB` in the docstring is read by the field itself and must give the field's default."""
    told = re.search(r"Default: (.+?)(?:[,;.](?:\s|$)|$)", field.description or "")
    is_read_back = told and told[1] != "none" and isinstance(field.default, bool | int | float | str)
    if not is_read_back:
        return
    key = field.alias or name
    given = {key: told[1]}

    assert getattr(_partly(section, given), name) == field.default


def _partly(section: type[Section], given: dict[str, Any]) -> Section:
    required: dict[str, Any] = {"url": "http://h", "origin": ORIGIN, "name": "a", "match": {}}
    needed = {key: required[key] for key, field in section.model_fields.items() if field.is_required()}
    return section.model_validate({**needed, **given})


def test_secret_keys_exist() -> None:
    for path in (*SECRET_FILES, *SECRET_FILES.values()):
        section: Any = config()
        for key in path:
            section = getattr(section, str(key))


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(config(admin={"token": "t0ken"}, l2={"url": "redis://:pw@h"}, secret="s3cret"))

    assert not re.search("t0ken|pw|s3cret", shown)


def test_empty_secret_is_none() -> None:
    assert config(secret="", admin={"token": ""}).secret is None


@pytest.mark.parametrize(("routes", "unmatched"), [([], "cache"), ([route()], "pass")])
def test_unmatched_requests_are_cached_only_without_routes(routes: list[Any], unmatched: str) -> None:
    assert config(routes=routes).unmatched == unmatched
    assert config(routes=routes, unmatched="cache").unmatched == "cache"


@pytest.mark.parametrize(("access", "share"), [("off", 0.0), ("1%", 0.01), ("all", 1.0), (0.5, 0.5)])
def test_access_log_is_a_share(access: object, share: float) -> None:
    assert config(logs={"access": access}).logs.access == share


def test_dump_is_a_configuration_again() -> None:
    given = config(
        admin={"listen": "off", "token": "x"},
        l1={"max_bytes": "30%"},
        logs={"access": "1%"},
        data_purge={"from": ["10.0.0.0/8"]},
        defaults={"negative": {"404": "1s", "errors": {"500": "2s"}}, "identity": {"header": "X-User"}},
        routes=[
            route(
                override=["private", "no-store"],
                ignore_cookies=True,
                coalesce=False,
                match={"path": "/p/{id}", "methods": ["GET"]},
                key={"query": {"include": []}},
                ttl="none",
                max_body="1KiB",
            )
        ],
    )

    assert Config.model_validate(given.model_dump(by_alias=True)) == given
    assert Config.model_validate(given.model_dump(mode="json", by_alias=True)) == given


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("origin: {url: http://h, response_timeout: 0}", "1:43: origin.response_timeout"),
        ("origin: {url: http://h, connect_timeout: 0s}", "1:42: origin.connect_timeout"),
        ("origin: {url: http://h, idle_timeout: 0}", "1:39: origin.idle_timeout"),
        ("origin: {url: http://h, pool: {acquire_timeout: 0}}", "1:49: origin.pool.acquire_timeout"),
        ("origin: {url: http://h, pool: {idle_timeout: 0}}", "1:46: origin.pool.idle_timeout"),
        ("origin: {url: http://h, pool: {max_lifetime: 0}}", "1:46: origin.pool.max_lifetime"),
        ("origin: {url: http://h}\nlimits: {head: 0}", "2:16: limits.head"),
        ("origin: {url: http://h}\nlimits: {head_time: 0}", "2:21: limits.head_time"),
        ("origin: {url: http://h}\nlimits: {body_idle: 0}", "2:21: limits.body_idle"),
        ("origin: {url: http://h}\nlimits: {write_idle: 0}", "2:22: limits.write_idle"),
        ("origin: {url: http://h}\nlimits: {tunnel_idle: 0}", "2:23: limits.tunnel_idle"),
        ("origin: {url: http://h}\nl2: {timeout: 0}", "2:15: l2.timeout"),
    ],
)
def test_zero_is_no_way_to_say_without_a_limit(section: str, place: str) -> None:
    (fault,) = faults_of(section)

    assert fault.startswith(f"x.yaml:{place}: found ")
    assert fault.endswith(", expected more than 0")
