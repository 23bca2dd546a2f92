"""One cacheable request on its way through the tiers, and what was found so far."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from msgspec import Struct

from proxy.config.policy import RoutePolicy
from proxy.model import Forward, Outcome, Reason, Request, StoredResponse, Validity, VaryRecord
from proxy.policy.cache_key import CacheKey
from proxy.policy.directives import RequestDirectives
from proxy.policy.reuse import Asking
from proxy.policy.routes import RouteMatch


class Lookup(Struct, eq=False):
    """What a request asks for (fixed) and what the tiers said (filled in on the way)."""

    request: Request
    match: RouteMatch
    directives: RequestDirectives
    asked: Asking
    key: CacheKey
    policy: RoutePolicy
    """That of the request's route."""
    entry_key: bytes
    """Where the response is, or would be: the primary key, or a variant key once a Vary record is known."""
    record: VaryRecord | None = None
    base: StoredResponse | None = None
    """The newest response that may be validated, or stand in when the origin fails."""
    part: StoredResponse | None = None
    """A stored part that does not answer the request, but may be completed (RFC 9111 §3.3)."""
    unproven: StoredResponse | None = None
    """Held while the log cannot be read: not validated (a hard purge may be unread), but it may stand in."""
    forward: Forward = Forward.URI_MISS
    refusal: Reason | None = None
    """A stored response exists that is not for this request (whose, the reason says)."""

    def narrow(self, record: VaryRecord, entry_key: bytes) -> None:
        """The primary key holds a Vary record: look under the variant's key."""
        self.record = record
        self.entry_key = entry_key
        self.forward = Forward.VARY_MISS

    def offer_base(self, stored: StoredResponse, forward: Forward) -> None:
        """A response that may be validated first; of two, the newer one counts."""
        self.forward = forward
        if self.base is None or stored.received_at > self.base.received_at:
            self.base = stored

    @property
    def stand_in(self) -> StoredResponse | None:
        """What may be served when the origin fails, if the policy allows it."""
        return self.base or self.unproven

    def offer_part(self, stored: StoredResponse) -> None:
        """A part that newer bytes may be joined to."""
        self.part = stored
        self.forward = Forward.PARTIAL

    def forget_dead(self, judge: Callable[[StoredResponse], Validity]) -> None:
        """What was purged since it was offered is neither validated nor completed (invalidation R10)."""
        if self.base is not None and judge(self.base) is Validity.DEAD:
            self.base = None
            self.forward = self._forward_of_miss
        if self.part is not None and judge(self.part) is Validity.DEAD:
            self.part = None
            self.forward = self._forward_of_miss

    @property
    def _forward_of_miss(self) -> Forward:
        return Forward.URI_MISS if self.record is None else Forward.VARY_MISS

    @property
    def asks_range(self) -> bool:
        """The origin is asked for the range that the client wants: nothing whole is there to be validated."""
        return self.base is None and b"range" in self.request.fields

    @property
    def completes(self) -> bool:
        """The origin is asked for what is missing from a stored part."""
        return self.part is not None and self.base is None and not self.asks_range

    @property
    def miss_outcome(self) -> Outcome:
        """What an answer from the origin is to this request."""
        return Outcome.EXPIRED if self.forward is Forward.STALE else Outcome.MISS

    def flight_key(self) -> bytes:
        """Who may share a fetch: the same entry, and never two identities.

        A request whose Authorization is not part of the key flies alone with it; one with cookies that
        are neither keyed nor ignored does not share the fate of those without.
        """
        authorization = b""
        if not self.asked.authorization_is_covered:
            authorization = self.request.fields.combined(b"authorization") or b""
        has_foreign_cookies = not self.asked.cookies_are_covered
        if not authorization and not has_foreign_cookies:
            return self.entry_key
        digest = blake2b(authorization, digest_size=16, key=self.entry_key)
        digest.update(b"c" if has_foreign_cookies else b"")
        return digest.digest()
