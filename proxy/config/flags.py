"""A configuration without a file: `serve --origin URL` and its other flags."""

from __future__ import annotations

from typing import Any

from proxy.config import lint
from proxy.config.checking import check
from proxy.config.faults import Fault, Finding
from proxy.config.loading import Faults, Loaded
from proxy.config.nodes import Path

_FLAGS: dict[Path, str] = {
    ("origin", "url"): "--origin",
    ("listen",): "--listen",
    ("ops", "listen"): "--ops",
    ("admin", "listen"): "--admin",
    ("profile",): "--profile",
}


def defaults_for_origin(
    url: str, *, listen: str, ops: str, admin: str, profile: str, token: str | None = None
) -> Loaded | Faults:
    """An RFC 9111 shared cache with all defaults, L1 only, in front of one origin.

    `ops` and `admin` may be `off`; `token` is the admin port's, which it needs beyond loopback.
    """
    values: dict[str, Any] = {
        "origin": {"url": url},
        "listen": listen,
        "ops": {"listen": ops},
        "admin": {"listen": admin, "token": token},
        "profile": profile,
    }
    checked = check(values)
    if checked.config is None or checked.faults:
        return Faults(tuple(map(_at_flag, checked.faults)))
    return Loaded(checked.config, tuple(map(_at_flag, lint.warnings(checked.config))))


def _at_flag(finding: Finding) -> Fault:
    path = finding.about[0]
    return Fault(_FLAGS.get(path, ".".join(map(str, path))), 0, 0, finding.message)
