"""Route policies: how long answers live, for whom, and what happens around their expiry.

The shape only: what a policy means for a request is decided in `proxy/policy/`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from proxy.config import patterns
from proxy.config.addresses import HostName
from proxy.config.identity import AnyIdentity, Identity, IgnoredCookies
from proxy.config.negative import Negative
from proxy.config.scalars import (
    FLAG_SCHEMA,
    FLAG_WORDS,
    CookieName,
    Duration,
    Flag,
    HeaderName,
    Label,
    Method,
    OptionalDuration,
    OptionalSize,
    PositiveCount,
    Share,
    Tag,
    flag,
)
from proxy.config.section import Section

ANY_HOST = "any"
Scope = Literal["auto", "fleet", "process", "off"]
Override = Literal["private", "no-store", "set-cookie"]


PathPattern = Annotated[
    str,
    PlainValidator(patterns.checked),
    WithJsonSchema({"title": "path pattern", "type": "string", "pattern": "^/"}),
]


class Coalesce(Section):
    """What a burst of identical requests for one cold key does."""

    scope: Scope = "auto"
    """Who shares one fetch: `auto` (fleet where L2 is shared, else process), `fleet`, `process`, or `off`.
    Default: auto. L2 is shared where `l2.url` is neither `off` nor `embedded`; else `fleet` is `process`."""
    wait: Duration = 2.0
    """How long to wait for another replica's fetch before fetching too. Default: 2s. Below a second nobody
    takes over from a replica that died. Within a process the fetch's own timeouts bound the wait."""

    @model_validator(mode="before")
    @classmethod
    def _flag_is_scope(cls, given: Any) -> Any:
        is_flag = isinstance(given, bool) or (isinstance(given, str) and given.lower() in FLAG_WORDS)
        if is_flag:
            return {"scope": "auto" if flag(given) else "off"}
        return given

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        mapping = {key: schema.pop(key) for key in ("type", "properties", "additionalProperties")}
        schema["anyOf"] = [FLAG_SCHEMA, mapping]
        return schema


class QueryKey(Section):
    """Which parts of the query tell answers apart."""

    include: tuple[str, ...] | None = None
    """Names of the parameters that are in the key, compared percent-decoded, all values in order. Default:
    the whole query, byte for byte. `[]` keys on none: an operator's promise that the query does not
    matter."""
    forward: Literal["all", "keyed"] = "all"
    """What the origin sees of the query: `all` (the target byte for byte) or only what is `keyed`. Default:
    all."""


class Key(Section):
    """What tells answers apart, beside scheme, host and path."""

    query: QueryKey = QueryKey()
    """Which query parameters are part of the key."""
    headers: tuple[HeaderName, ...] = ()
    """Request header fields whose values are part of the key, hashed. Default: none. `Vary` in answers works
    without them."""
    cookies: tuple[CookieName, ...] = ()
    """Cookies whose values are part of the key, hashed. Default: none."""


class BypassWhen(Section):
    """Requests that go to the origin without a look into the cache, and whose answers are not stored."""

    headers: tuple[HeaderName, ...] = ()
    """A request that has one of these header fields bypasses the cache. Default: none."""
    cookies: tuple[CookieName, ...] = ()
    """A request that has one of these cookies bypasses the cache. Default: none."""


class Match(Section):
    """Which requests a route is for. All that is given must fit."""

    path: PathPattern = "/**"
    """A path pattern: `*` is one segment (or part of one), `**` any number, `{name}` one segment that tags
    can name. Default: /**, every path."""
    methods: tuple[Method, ...] | None = Field(default=None, min_length=1)
    """Methods, in capitals. Default: all. Only answers to GET and HEAD are ever stored."""
    host: HostName = ANY_HOST
    """One host name, or `any`. Default: any."""


class RoutePolicy(Section):
    """What a route says of its answers. A key that a route does not give is inherited from `defaults`,
    whole."""

    cache: Flag = True
    """Whether answers may be stored at all. Default: true. With false every request of the route passes to
    the origin."""
    ttl: OptionalDuration = None
    """Freshness of answers that state no lifetime of their own. Default: none, only what RFC 9111 allows: 10
    % of the time since Last-Modified, at most a day."""
    respect_origin: Flag = True
    """Whether the answer's Cache-Control and Expires win over `ttl`. Default: true. With false `ttl` wins."""
    override: Annotated[frozenset[Override], PlainSerializer(sorted)] = frozenset()
    """Protections that this route switches off, by name: `private`, `no-store`, `set-cookie`. Default: none.
    What it names is then stored and shared."""
    client_cache_control: Literal["honour", "ignore"] = "honour"
    """Whether a client's own Cache-Control (no-cache, max-age, ...) is obeyed. Default: honour. With `ignore`
    clients cannot force work on the origin."""
    l1_ttl: Duration = 60.0
    """How long a copy stays in L1 before L2 is asked again; only where an L2 stands behind. Default: 60s. If
    L2 cannot answer, the copy stands until its own lifetime ends."""
    idle: OptionalDuration = None
    """An entry not asked for this long is dropped from L1. Default: none, entries leave by age or for want of
    room."""
    keep: Duration = 600.0
    """How long a stale entry with a validator is kept, so that a 304 can renew it. Default: 10m."""
    jitter: Share = 0.2
    """Spread of the lifetime, so that entries stored together do not expire together. Default: 20%, up or
    down. A lifetime that the origin stated only has its refresh brought forward."""
    negative: Negative = Negative()
    """How long "does not exist" is remembered, by status: `{404: 30s, 410: 5m, errors: {500: 1s}}`. Default:
    not at all."""
    stale_while_revalidate: Duration = 0.0
    """How long after its lifetime an entry is still served while one refresh runs in the background. Default:
    0s. The answer's own directive wins."""
    stale_if_error: Duration = 300.0
    """How long after its lifetime an entry is served when the origin cannot be reached, times out or answers
    500, 502, 503, 504. Default: 5m. The answer's own directive wins; must-revalidate, proxy-revalidate,
    no-cache and s-maxage forbid it."""
    coalesce: Coalesce = Coalesce()
    """What identical requests for one cold key do: `true` (one fetch for all), `false`, or `{scope: process,
    wait: 2s}`. Default: true."""
    identity: AnyIdentity = Identity()
    """For whom an answer is: `rfc9111` (answers to requests with Authorization are shared only if they say
    so), `shared` (for everybody), `{header: Name}` or `{cookie: Name}` (one entry per value, hashed with a
    key). Default: rfc9111."""
    ignore_cookies: IgnoredCookies = ()
    """Cookies that do not matter for the answer, by name; `true` for all. Default: none. A request with other
    cookies shares an entry only if the origin stated its lifetime."""
    max_variants: PositiveCount = 64
    """The most answers per URL that `Vary` may tell apart. Default: 64. The oldest leaves L1; in L2 it stays
    until its own end."""
    early_refresh: Flag = False
    """Whether a hot entry is refreshed with growing probability before its lifetime ends. Default: false."""
    max_body: OptionalSize = None
    """Bodies of more bytes stream through and are not stored. Default: none, which is
    `l1.max_entry_bytes`."""
    tags: tuple[Tag, ...] = Field(default=(), max_length=64)
    """Names under which entries can be purged, beside those in the answer's Surrogate-Key, xkey, Cache-Tag
    and Cache-Groups. `{name}` stands for a parameter of the path. Default: none."""
    key: Key = Key()
    """What tells answers apart, beside scheme, host and path."""
    bypass_when: BypassWhen = BypassWhen()
    """Requests that never touch the cache."""


class Route(RoutePolicy):
    """One route: which requests, and their policy. The first route that matches decides."""

    name: Label
    """Stands in metrics, logs and purges: at most 64 letters, digits, `-`, `_`, `.`, `:`. Required."""
    match: Match
    """Which requests the route is for. Required."""

    def inheriting(self, defaults: RoutePolicy) -> Route:
        """The route with the defaults' value for each key that it does not give; `model_fields_set` stays."""
        given = {key: value for key, value in self if key in self.model_fields_set}
        return Route.model_construct(self.model_fields_set, **{**dict(defaults), **given})
