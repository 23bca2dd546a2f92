"""What operators may see of secrets: nothing that can be used, but enough to tell two apart."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b
from urllib.parse import unquote

from proxy.config.schema import Config

MASK = "***"

_SECRET_PARAMETER = re.compile(
    r"auth|token|bearer|secret|pass(w|phrase)|pwd|signature|credential|session|api_?-?key"
    r"|^(sig|key|code|jwt|sid|otp|pin)$",
    re.IGNORECASE,
)
_HASH_KEY = secrets.token_bytes(16)
"""Of this process: equal secrets look equal in its answers, and can be guessed from none."""


def masked_config(config: Config) -> dict[str, object]:
    """The configuration in the YAML's shape, its tokens and passwords masked."""
    shown = config.model_dump(mode="json", by_alias=True)
    for section, key in ((shown, "secret"), (shown["admin"], "token")):
        section[key] = MASK if section[key] else None
    shown["l2"]["url"] = masked_url(config.l2.url)
    return shown


def masked_url(url: str) -> str:
    """The URL without its password, and without parameters that look like one."""
    scheme, _, authority = url.partition("://")
    userinfo, at, rest = authority.rpartition("@")
    if not at:
        return masked_target(url)
    user, colon, _ = userinfo.partition(":")
    shown_user = f"{user}:{MASK}" if colon else MASK
    return masked_target(f"{scheme}://{shown_user}@{rest}")


def masked_target(target: str) -> str:
    """The target with the values of parameters that are named like secrets replaced by a hash."""
    path, mark, query = target.partition("?")
    return path + mark + "&".join(_masked_parameter(parameter) for parameter in query.split("&"))


def _masked_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not value or not _SECRET_PARAMETER.search(unquote(name)):
        return parameter
    return f"{name}{equals}~{hashed(value)}"


def hashed(value: str) -> str:
    """Eight characters that stand for the value in this process' answers."""
    return blake2b(value.encode("utf-8", "surrogateescape"), key=_HASH_KEY, digest_size=4).hexdigest()
