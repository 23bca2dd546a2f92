from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from proxy.config.schema import Config
from proxy.net.descriptors import RESERVE, allow_descriptors, descriptors_needed, make_room

KIND = resource.RLIMIT_NOFILE


@pytest.fixture(autouse=True)
def limit_kept() -> Iterator[None]:
    before = resource.getrlimit(KIND)
    yield
    resource.setrlimit(KIND, before)


def test_every_limit_on_sockets_is_counted() -> None:
    config = Config.model_validate(
        {
            "origin": {"url": "http://127.0.0.1:1", "pool": {"max_connections": 200}},
            "limits": {"connections": 1000, "tunnels": 30},
        }
    )

    assert descriptors_needed(config) == 1230 + RESERVE


def test_the_limit_is_raised_to_what_is_needed() -> None:
    _, most = resource.getrlimit(KIND)
    resource.setrlimit(KIND, (300, most))

    assert allow_descriptors(400) == 400
    assert resource.getrlimit(KIND) == (400, most)


def test_a_higher_limit_is_left_alone() -> None:
    _, most = resource.getrlimit(KIND)
    resource.setrlimit(KIND, (300, most))

    assert allow_descriptors(200) == 300
    assert resource.getrlimit(KIND) == (300, most)


def test_more_than_the_system_allows_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # A lowered hard limit could not be raised again for the tests that follow.
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (300, 350))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, limits: asked.append(limits))

    assert allow_descriptors(400) == 350
    assert asked == [(350, 350)]
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("limits", "allowed", "raised"),
    [
        ((300, resource.RLIM_INFINITY), 400, [(400, resource.RLIM_INFINITY)]),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 400, []),
    ],
)
def test_no_limit_is_more_than_any(
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int],
    allowed: int,
    raised: list[tuple[int, int]],
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, new: asked.append(new))

    assert allow_descriptors(400) == allowed
    assert asked == raised
    monkeypatch.undo()


def test_too_few_are_told_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.net.descriptors.allow_descriptors", lambda _needed: 64)
    settings = Config.model_validate({"origin": {"url": "http://127.0.0.1:1"}})
    with capture_logs() as lines:
        make_room(settings)

    needed = descriptors_needed(settings)
    told = [(line["event"], line["allowed"], line["needed"]) for line in lines]
    assert told == [("too few file descriptors", 64, needed)]
