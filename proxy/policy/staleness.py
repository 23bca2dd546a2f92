"""For how many seconds past its lifetime a response may be served: while it is refreshed, or when that fails.

The response's own directive goes before the route's window (RFC 5861), and what forbids stale answers before
both (RFC 9111 §4.2.4). Zero: not at all.
"""

from __future__ import annotations

from proxy.config.schema import RoutePolicy
from proxy.model import Rule

_NEVER_STALE = Rule.NO_CACHE | Rule.MUST_REVALIDATE


def revalidation_window(rules: int, own: float | None, policy: RoutePolicy) -> float:
    """Seconds for which it is served while one refresh runs; `own` is the response's directive."""
    return _window(rules, own, policy.stale_while_revalidate)


def error_window(rules: int, own: float | None, policy: RoutePolicy, *, asked: float | None = None) -> float:
    """Seconds for which it is served when the origin fails; `asked` is the client's stale-if-error.

    The client may shorten what the response allows; where that is silent, the client says what it takes.
    """
    if own is not None and asked is not None:
        own = min(own, asked)
    return _window(rules, own, policy.stale_if_error if asked is None else asked)


def may_be_stale(rules: int) -> bool:
    """May a client's max-stale have it (RFC 9111 §5.2.1.2)? s-maxage implies proxy-revalidate."""
    return not rules & (_NEVER_STALE | Rule.SHARED_MAX_AGE)


def _window(rules: int, own: float | None, otherwise: float) -> float:
    if rules & _NEVER_STALE:
        return 0.0
    if own is not None:
        return own
    # RFC 9111 §5.2.2.10. A response that states both s-maxage and its own window means the window.
    return 0.0 if rules & Rule.SHARED_MAX_AGE else otherwise
