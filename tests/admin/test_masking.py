"""What operators see of secrets."""

from __future__ import annotations

import re

import pytest

from proxy.admin.masking import masked_config, masked_target, masked_url
from tests.support.configs import config


@pytest.mark.parametrize(
    "target",
    [
        "/a",
        "/a?",
        "/a?b",
        "/a?b=",
        "/a?page=2&sort=price",
        "/a?monkey=1&keyboard=2&design=3&pinned=4",
        "/a?&&=x",
        "/a?token=",
    ],
)
def test_a_target_without_secrets_stays_as_it_is(target):
    assert masked_target(target) == target


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "access_token",
        "Token",
        "auth",
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "bearer",
        "otp",
        "pin",
        "api_key",
        "apikey",
        "api-key",
        "X-Amz-Signature",
        "sig",
        "key",
        "code",
        "jwt",
        "sid",
        "session_id",
        "%74oken",
    ],
)
def test_a_parameter_named_like_a_secret_is_hashed(name):
    masked = masked_target(f"/a?x=1&{name}=hunter2&y=2")

    assert re.fullmatch(rf"/a\?x=1&{re.escape(name)}=~[0-9a-f]{{8}}&y=2", masked)


def test_equal_secrets_look_equal_and_others_differ():
    first, again, other = (masked_target(f"/a?token={value}") for value in ("s1", "s1", "s2"))

    assert first == again != other


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("off", "off"),
        ("embedded", "embedded"),
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("redis://:hunter2@cache/0", "redis://:***@cache/0"),
        ("redis://me:hunter2@cache/0", "redis://me:***@cache/0"),
        ("redis://me:h@nter2@cache/0", "redis://me:***@cache/0"),
        ("redis://hunter2@cache/0", "redis://***@cache/0"),
        ("rediss://cache/0?ssl=1", "rediss://cache/0?ssl=1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_password(url, masked):
    assert masked_url(url) == masked


def test_a_password_among_a_urls_parameters_is_hashed():
    assert "hunter2" not in masked_url("unix:///run/redis.sock?password=hunter2")


def test_a_configuration_without_secrets_says_so():
    shown = masked_config(config())

    assert shown["secret"] is None
    assert shown["admin"]["token"] is None
    assert shown["listen"] == "0.0.0.0:8080"
