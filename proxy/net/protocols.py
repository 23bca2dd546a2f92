"""What the plain lane and the relay need of the engine; `app` plugs it in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from proxy.model import NOT_ASKED, Answer, Entry, Found, Hit, OriginResponse, RelayTerms, Request


class Fill(Protocol):
    """The fetch of what is to be stored, begun. Whoever has it ends it by `take`, or calls `go_on`, once."""

    @property
    def terms(self) -> RelayTerms:
        """How the answer goes to the client if `take` takes it."""

    @property
    def target(self) -> bytes:
        """What the origin is asked for."""

    @property
    def is_ready(self) -> bool:
        """It may be asked; else after a `claim`."""

    def claim(self, then: Callable[[], None]) -> None:
        """Find out whether it may. `then` is called once, maybe at once: it is ready, or has to `go_on`."""

    def take(self, response: OriginResponse) -> tuple[bytes, int | None] | None:
        """Store what is here whole: its lines for the client, and its Age. None: nothing was done."""

    def go_on(self, request: Request) -> None:
        """In a task of its own, with the request as it is now: it may have been sent."""

    def serve(self, request: Request) -> Coroutine[Any, Any, Answer]:
        """The answer of what goes on."""


class PlainFlow(Protocol):
    """What the lane wants of the engine."""

    @property
    def telling_fields(self) -> AbstractSet[bytes]:
        """The request fields (lower case) that a plan may depend on, beside method, target and host."""

    def plan(self, request: Request) -> Any:
        """What the request asks for, as far as it depends neither on the time nor on what is stored."""

    def pass_terms(self, plan: Any, request: Request) -> RelayTerms | None:
        """How the origin's answer goes to the client, where that is all to be done; None: `serve` knows."""

    def held(self, plan: Any) -> Any | None:
        """What L1 holds for it, counted as a use."""

    def plain_hit(self, plan: Any, held: Any) -> Hit | None:
        """What L1 holds, if the whole of that answers it now."""

    def lasting(self, plan: Any, hit: Hit) -> Any | None:
        """By what `still_lasts` knows that `plain_hit` would say the same again; None: it cannot know."""

    def still_lasts(self, plan: Any, lasting: Any) -> bool:
        """Would it, now? Asked instead of `held` and `plain_hit`, and counts as a use like these."""

    def begin_fill(self, plan: Any, request: Request, found: Found = NOT_ASKED) -> Fill | None:
        """The fetch for a GET without conditions that L1 holds nothing for; None: `serve` knows.

        `found` is what L2 had, where it was asked.
        """

    def serve(self, request: Request, plan: Any, found: Found = NOT_ASKED) -> Coroutine[Any, Any, Answer]:
        """The answer, whatever it takes; `found` is what L2 had, where it was asked."""

    def ask_l2(self, plan: Any, held: Any | None, then: Callable[[Entry | None], None]) -> bool:
        """Ask L2 for it, where that is next; `then` is called once, in a later step. False: not asked."""

    def plain_hit_l2(self, plan: Any, found: Entry | None) -> Hit | None:
        """What L2 had, if the whole of that answers now."""

    def is_not_modified(self, request: Request, hit: Hit) -> bool:
        """May the client keep what it has, by this request's conditions?"""
