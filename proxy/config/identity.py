"""Who the users are that answers belong to: the values of `identity` and `ignore_cookies`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from proxy.config.scalars import FLAG_SCHEMA, flag, token

IdentityKind = Literal["rfc9111", "shared", "header", "cookie"]


@dataclass(frozen=True, slots=True)
class Identity:
    """For whom a stored answer is: `name` is the header (lower case) or cookie that tells users apart."""

    kind: IdentityKind = "rfc9111"
    name: str = ""


def _identity(given: object) -> Identity:
    if isinstance(given, Identity):
        return given
    if given == "rfc9111":
        return Identity("rfc9111")
    if given == "shared":
        return Identity("shared")
    if isinstance(given, dict) and given.keys() == {"header"}:
        return Identity("header", token(given["header"]).lower())
    if isinstance(given, dict) and given.keys() == {"cookie"}:
        return Identity("cookie", token(given["cookie"]))
    raise ValueError("expected rfc9111, shared, {header: Name} or {cookie: Name}")


def _identity_as_written(identity: Identity) -> str | dict[str, str]:
    return {identity.kind: identity.name} if identity.name else identity.kind


def _ignored_cookies(given: object) -> bool | tuple[str, ...]:
    if isinstance(given, (bool, str)):
        return True if flag(given) else ()
    if not isinstance(given, Sequence):
        raise ValueError("expected a list of cookie names, or true for all")
    return tuple(token(name) for name in given)


def _names_schema(key: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"type": "string"}},
        "required": [key],
        "additionalProperties": False,
    }


AnyIdentity = Annotated[
    Identity,
    PlainValidator(_identity),
    PlainSerializer(_identity_as_written),
    WithJsonSchema(
        {
            "title": "rfc9111, shared, {header: Name} or {cookie: Name}",
            "anyOf": [{"enum": ["rfc9111", "shared"]}, _names_schema("header"), _names_schema("cookie")],
        }
    ),
]
IgnoredCookies = Annotated[
    bool | tuple[str, ...],
    PlainValidator(_ignored_cookies),
    PlainSerializer(lambda cookies: cookies if cookies is True else list(cookies)),
    WithJsonSchema(
        {
            "title": "list of cookie names, or true",
            "anyOf": [FLAG_SCHEMA, {"type": "array", "items": {"type": "string"}}],
        }
    ),
]
