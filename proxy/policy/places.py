"""Where a URL selector points: one host or every host, and a target there.

`/path?query` is on every host; `http(s)://host[:port]/path` is on one, in the form that Request.host has.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.config.faults import shown

_ABSOLUTE = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)"
    r"(?::(?P<port>[0-9]*))?"
    r"(?P<rest>[/?].*)?",
    re.IGNORECASE | re.DOTALL,
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Place(NamedTuple):
    """A target on one host."""

    host: bytes | None
    """As in Request.host; None: every host."""
    target: bytes


def place_of(text: str) -> Place:
    """The place that a URL or a prefix names. Raises ValueError with what was expected.

    One character is one byte: text decoded as latin-1 gives any target back byte for byte.
    """
    host, target = split_host(text)
    if "#" in target:
        raise ValueError(f"expected no fragment, found {shown(text)}")
    return Place(host, target.encode("latin-1"))


def split_host(text: str) -> tuple[bytes | None, str]:
    """The host, and what follows it: always begins with a slash. Raises ValueError."""
    if text.startswith("/"):
        return None, text
    url = _ABSOLUTE.fullmatch(text)
    name = url["name"].lower().removesuffix(".") if url else ""
    if not url or not name:
        raise ValueError(f"expected /path or http(s)://host/path, found {shown(text)}")
    port = url["port"] or ""
    is_default = port in {"", _DEFAULT_PORTS[url["scheme"].lower()]}
    host = name if is_default else f"{name}:{port}"
    rest = url["rest"] or "/"
    return host.encode(), rest if rest.startswith("/") else f"/{rest}"
