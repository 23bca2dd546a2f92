"""Tags: names under which stored responses can be purged, from the response and from the route.

Surrogate-Key, xkey and Cache-Tag are between the origin and us; Cache-Groups (RFC 9875) is everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from proxy.model import Fields, Request
from proxy.policy.globs import Glob
from proxy.policy.structured_fields import parse_strings
from proxy.policy.targets import canonical_path

MOST_TAGS = 1_000
"""A page that lists hundreds of products names each of them. Asking the rule of so many takes 0.2 ms."""
MOST_TAG_BYTES = 1024

OUR_FIELDS = frozenset({b"cache-tag", b"surrogate-key", b"xkey"})
"""Not for clients."""
_IN_THEIR_ORDER = sorted(OUR_FIELDS)

_CACHE_GROUPS = b"cache-groups"
TAG_FIELDS = OUR_FIELDS | {_CACHE_GROUPS}
"""All that tags are read from."""
_GROUP_INVALIDATION = b"cache-group-invalidation"
_SCOPE_END = b"\n"
"""Between an origin and the name of its group: no tag that a field names has this byte."""
_SEPARATORS = re.compile(rb"[ \t,]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def stated_tags(request: Request, fields: Fields) -> tuple[bytes, ...]:
    """All tags that the response names, and those of its groups."""
    named = tag_values(fields)
    return (*named, *group_tags(request, fields)) if _CACHE_GROUPS in fields else named


def tag_values(fields: Fields) -> tuple[bytes, ...]:
    """All tags that the response names, each once; a malformed Cache-Groups names none."""
    lines = [value for name in _IN_THEIR_ORDER for value in fields.values(name)]
    tags = [tag for line in lines for tag in _SEPARATORS.split(line)]
    return tuple(dict.fromkeys(filter(None, tags + _strings(fields, _CACHE_GROUPS))))


def group_tags(request: Request, fields: Fields) -> tuple[bytes, ...]:
    """The groups that a response is in, as tags that hold for its own origin only (RFC 9875 §2)."""
    return _scoped(request, _strings(fields, _CACHE_GROUPS))


def invalidated_groups(request: Request, fields: Fields) -> tuple[bytes, ...]:
    """The same for the groups that the answer to an unsafe request makes untrue (RFC 9875 §3)."""
    return _scoped(request, _strings(fields, _GROUP_INVALIDATION))


class RouteTags:
    """The tags that a route gives: its templates, made ready for the paths that its pattern matches."""

    __slots__ = ("_forms", "_glob", "_of_any_path")

    def __init__(self, templates: Iterable[str], glob: Glob | None) -> None:
        parts = frozenset[str]() if glob is None else glob.names
        forms = map(_form_of, templates)
        # A template that names what the path has no part for names no tag.
        self._forms = [(form, names) for form, names in forms if parts.issuperset(names)]
        self._of_any_path = tuple(form % () for form, names in self._forms if not names)
        self._glob = glob if len(self._of_any_path) < len(self._forms) else None
        """None: no tag depends on the path."""

    def of(self, target: bytes) -> tuple[bytes, ...]:
        """Those for this target, `{name}` replaced by that part of the path as it stands there."""
        path = None if self._glob is None else canonical_path(target)
        found = None if path is None or self._glob is None else self._glob.matches(path)
        if found is None:
            return self._of_any_path
        return tuple([form % (found.group(*names) if names else ()) for form, names in self._forms])


def _form_of(template: str) -> tuple[bytes, tuple[str, ...]]:
    """The template for `%`, and the names of its parts; braces that hold no name stand for themselves."""
    pieces = _PARAMETER.split(template)
    texts = [text.encode().replace(b"%", b"%%") for text in pieces[::2]]
    return b"%b".join(texts), tuple(pieces[1::2])


def are_too_many(tags: Collection[bytes]) -> bool:
    """More than 1,000, or one of more than 1 KiB: what could not be purged by all its tags is not stored.

    The tags of groups count once, as they are named.
    """
    if len(tags) <= MOST_TAGS and len(b"".join(tags)) <= MOST_TAG_BYTES:
        return False  # as most are, however groups count: all together are not too long for one
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
