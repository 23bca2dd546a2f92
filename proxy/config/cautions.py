"""What is legal but dangerous, or has no effect yet: `check` prints it, `serve` logs it."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.faults import Finding
from proxy.config.policies import Placed, caching
from proxy.config.schema import Config
from proxy.config.tiers import DEFAULT_NAMESPACE

SHORTEST_SECRET = 16
BROAD_PREFIXES = {4: 8, 6: 32}
"""IP version -> shorter prefixes hold so many addresses that they name no one."""

_PRIVATE_REDIS = frozenset({"off", "embedded"})


def shared_identity(config: Config) -> Iterator[Finding]:
    """All users get the same answer."""
    for placed in caching(config):
        if placed.policy.identity.kind == "shared":
            message = "shared: answers to requests with Authorization or cookies are given to everybody"
            yield Finding(message, (placed.at("identity"),))


def ignored_cookies(config: Config) -> Iterator[Finding]:
    """A session cookie is a cookie."""
    for placed in caching(config):
        if placed.policy.ignore_cookies is True:
            message = "true: an answer made for one user's cookies is given to others; prefer names"
            yield Finding(message, (placed.at("ignore_cookies"),))


def overrides(config: Config) -> Iterator[Finding]:
    """The origin said that it must not be stored or shared."""
    for placed in caching(config):
        if placed.policy.override:
            words = ", ".join(sorted(placed.policy.override))
            yield Finding(
                f"{words}: answers that the origin protects are stored and shared", (placed.at("override"),)
            )


def overruled_origin(config: Config) -> Iterator[Finding]:
    """The origin's own lifetimes no longer hold."""
    for placed in caching(config):
        if not placed.policy.respect_origin:
            message = "false: answers stay for the route's ttl, also where the origin says less"
            yield Finding(message, (placed.at("respect_origin"),))


def fleet_without_shared_redis(config: Config) -> Iterator[Finding]:
    """Replicas that share nothing cannot wait for each other."""
    if config.l2.url not in _PRIVATE_REDIS:
        return
    for placed in caching(config):
        if placed.policy.coalesce.scope == "fleet":
            message = f"fleet: works as process, as l2.url is {config.l2.url}"
            yield Finding(message, ((*placed.at("coalesce"), "scope"),))


def shared_redis(config: Config) -> Iterator[Finding]:
    """Replicas and other services reach the same keys."""
    if config.l2.url in _PRIVATE_REDIS:
        return
    if config.l2.namespace == DEFAULT_NAMESPACE:
        message = f"{DEFAULT_NAMESPACE}: services that share this Redis must have different namespaces"
        yield Finding(message, (("l2", "namespace"), ("l2", "url")))
    if config.secret is None and any(map(_hashes_users, caching(config))):
        message = "missing: in a shared Redis, hashes of users' identities are keyed by l2.namespace alone"
        yield Finding(message, (("secret",), ("l2", "url")))


def _hashes_users(placed: Placed) -> bool:
    policy = placed.policy
    return bool(policy.identity.name or policy.key.headers or policy.key.cookies)


def warm_from_nowhere(config: Config) -> Iterator[Finding]:
    """What starts with us, or is not there, has nothing for us."""
    if config.warm.from_ == "l2" and config.l2.url in _PRIVATE_REDIS:
        yield Finding(f"l2: finds nothing, as l2.url is {config.l2.url}", (("warm", "from"), ("l2", "url")))
    if config.warm.model_fields_set and "from_" not in config.warm.model_fields_set:
        yield Finding("has no effect without from: l2", (("warm",),))


def short_secrets(config: Config) -> Iterator[Finding]:
    """Guessable."""
    for path, secret in ((("admin", "token"), config.admin.token), (("secret",), config.secret)):
        if secret is not None and len(secret) < SHORTEST_SECRET:
            yield Finding(f"shorter than {SHORTEST_SECRET} characters", (path,))


def broad_purge_networks(config: Config) -> Iterator[Finding]:
    """Any client could empty the cache."""
    for index, network in enumerate(config.data_purge.from_):
        if network.prefixlen < BROAD_PREFIXES[network.version]:
            message = f"{network}: nearly everybody may purge on the data port"
            yield Finding(message, (("data_purge", "from", index),))


def relaxed_profile(config: Config) -> Iterator[Finding]:
    """The letter of RFC 9111 is less careful than we are."""
    if config.profile == "rfc9111":
        yield Finding("rfc9111: answers with Set-Cookie are stored and shared", (("profile",),))


CAUTIONS = (
    shared_identity,
    ignored_cookies,
    overrides,
    overruled_origin,
    fleet_without_shared_redis,
    shared_redis,
    warm_from_nowhere,
    short_secrets,
    broad_purge_networks,
    relaxed_profile,
)
