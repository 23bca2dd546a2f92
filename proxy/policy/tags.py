"""Tags: names under which stored responses can be purged, from the response and from the route.

Surrogate-Key, xkey and Cache-Tag are between the origin and us; Cache-Groups (RFC 9875) is everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from proxy.model import Fields
from proxy.policy.structured_fields import parse_strings

MOST_TAGS = 64
MOST_TAG_BYTES = 1024

OUR_FIELDS = frozenset({b"cache-tag", b"surrogate-key", b"xkey"})
"""Not for clients."""

_CACHE_GROUPS = b"cache-groups"
_SEPARATORS = re.compile(rb"[ \t,]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def tag_values(fields: Fields) -> tuple[bytes, ...]:
    """All tags that the response names, each once; a malformed Cache-Groups names none."""
    lines = (value for name in sorted(OUR_FIELDS) for value in fields.values(name))
    tags = [tag for line in lines for tag in _SEPARATORS.split(line) if tag]
    groups = parse_strings(fields.combined(_CACHE_GROUPS) or b"")
    return tuple(dict.fromkeys(tag for tag in (*tags, *(groups or ())) if tag))


def route_tags(templates: Iterable[str], params: Mapping[str, str]) -> tuple[bytes, ...]:
    """The route's tags, `{name}` replaced by that part of the path as it stands there (percent-encoded).

    A template that names no part of this path names no tag.
    """
    complete = (template for template in templates if set(_PARAMETER.findall(template)) <= params.keys())
    return tuple(_PARAMETER.sub(lambda name: params[name[1]], template).encode() for template in complete)


def are_too_many(tags: Iterable[bytes]) -> bool:
    """More than 64, or one of more than 1 KiB: what could not be purged by all its tags is not stored."""
    lengths = [len(tag) for tag in tags]
    return len(lengths) > MOST_TAGS or max(lengths, default=0) > MOST_TAG_BYTES


def for_clients(fields: Fields) -> Fields:
    """The fields without those that only purging needs."""
    return fields.without(OUR_FIELDS) if not OUR_FIELDS.isdisjoint(fields.names()) else fields
