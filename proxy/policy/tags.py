"""Tags: names under which stored responses can be purged, from the response and from the route.

Surrogate-Key, xkey and Cache-Tag are between the origin and us; Cache-Groups (RFC 9875) is everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from proxy.model import Fields, Request
from proxy.policy.structured_fields import parse_strings

MOST_TAGS = 1_000
"""A page that lists hundreds of products names each of them. Asking the rule of so many takes 0.2 ms."""
MOST_TAG_BYTES = 1024

OUR_FIELDS = frozenset({b"cache-tag", b"surrogate-key", b"xkey"})
"""Not for clients."""

_CACHE_GROUPS = b"cache-groups"
_TAG_FIELDS = OUR_FIELDS | {_CACHE_GROUPS}
_GROUP_INVALIDATION = b"cache-group-invalidation"
_SCOPE_END = b"\n"
"""Between an origin and the name of its group: no tag that a field names has this byte."""
_SEPARATORS = re.compile(rb"[ \t,]+")
_PARAMETER = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}")
"""With its braces doubled, as all of a template's are."""


def stated_tags(request: Request, fields: Fields) -> tuple[bytes, ...]:
    """All tags that the response names, and those of its groups."""
    if _TAG_FIELDS.isdisjoint(fields.names()):
        return ()
    return (*tag_values(fields), *group_tags(request, fields))


def tag_values(fields: Fields) -> tuple[bytes, ...]:
    """All tags that the response names, each once; a malformed Cache-Groups names none."""
    lines = (value for name in sorted(OUR_FIELDS) for value in fields.values(name))
    tags = [tag for line in lines for tag in _SEPARATORS.split(line) if tag]
    return tuple(dict.fromkeys(tag for tag in (*tags, *_strings(fields, _CACHE_GROUPS)) if tag))


def group_tags(request: Request, fields: Fields) -> tuple[bytes, ...]:
    """The groups that a response is in, as tags that hold for its own origin only (RFC 9875 §2)."""
    return _scoped(request, _strings(fields, _CACHE_GROUPS))


def invalidated_groups(request: Request, fields: Fields) -> tuple[bytes, ...]:
    """The same for the groups that the answer to an unsafe request makes untrue (RFC 9875 §3)."""
    return _scoped(request, _strings(fields, _GROUP_INVALIDATION))


def route_tags(templates: Iterable[str], params: Mapping[str, str]) -> tuple[bytes, ...]:
    """The route's tags, `{name}` replaced by that part of the path as it stands there (percent-encoded).

    A template that names no part of this path names no tag.
    """
    tags = []
    for template in templates:
        try:
            tags.append(_form_of(template).format_map(params).encode())
        except KeyError:
            continue
    return tuple(tags)


# A configuration has few templates, and each is filled in for every response of its route.
@lru_cache(maxsize=1024)
def _form_of(template: str) -> str:
    """The template for `str.format_map`: braces that hold no name stand for themselves."""
    return _PARAMETER.sub(r"{\1}", template.replace("{", "{{").replace("}", "}}"))


def are_too_many(tags: Collection[bytes]) -> bool:
    """More than 1,000, or one of more than 1 KiB: what could not be purged by all its tags is not stored.

    The tags of groups count once, as they are named.
    """
    if len(tags) <= MOST_TAGS and max(map(len, tags), default=0) <= MOST_TAG_BYTES:
        return False  # as most are, however groups count
    lengths = [len(tag) for tag in tags if _SCOPE_END not in tag]
    return len(lengths) > MOST_TAGS or max(lengths, default=0) > MOST_TAG_BYTES


def _strings(fields: Fields, name: bytes) -> list[bytes]:
    """The members of a list of Strings; none where the field is malformed (RFC 8941 §4.2)."""
    value = fields.combined(name)
    return [] if value is None else parse_strings(value) or []


def _scoped(request: Request, groups: Iterable[bytes]) -> tuple[bytes, ...]:
    origin = request.scheme + b"://" + request.host + _SCOPE_END
    return tuple(origin + group for group in dict.fromkeys(groups))


def for_clients(fields: Fields) -> Fields:
    """The fields without those that only purging needs."""
    return fields.without(OUR_FIELDS)
