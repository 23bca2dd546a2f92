"""What this replica wants in the log and does not yet read there: applied at once, published when it can be.

An invalidation without a place in the log is dated by an instant of this process (R21): our own fetches that
began later may live, every other entry that it names dies until the log says where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import inf, nextafter

from proxy.fleet.log import Draft
from proxy.model import StoredResponse, Validity
from proxy.policy.invalidation import EVERYTHING, Selector
from proxy.policy.invalidation_index import DEFAULT_BOUNDS, Modes
from proxy.policy.selected import Keyed
from proxy.policy.selector_encoding import batches

MOST_SELECTORS = 50_000
"""Kept for a server that does not answer; more become one purge of everything."""
MOST_DRAFTS = 100
"""Appended in one call."""
PACE_SECONDS = 0.1


class Outbox:
    """Drafts on their way, oldest first. `new_uid` names them."""

    def __init__(self, keyed: Keyed, new_uid: Callable[[], str]) -> None:
        self._keyed = keyed
        self._new_uid = new_uid
        self._modes: Modes[float] = Modes(keyed, DEFAULT_BOUNDS)
        self._unsent: dict[str, Draft] = {}
        self._applied_at: dict[str, float] = {}
        """Uid -> instant, of drafts that are dated by it."""
        self._paced: dict[Selector, float] = {}
        """Selector -> the first instant at which it was asked for since the last draft."""
        self._paced_at = -inf
        self._selectors = 0

    def __len__(self) -> int:
        return len(self._unsent) + len(self._paced)

    @property
    def has_drafts(self) -> bool:
        """Something waits that no pace holds back."""
        return bool(self._unsent)

    def holds(self, uid: str) -> bool:
        """Is it one of ours, without a place in the index yet?"""
        return uid in self._unsent or uid in self._applied_at

    def add(self, selectors: Sequence[Selector], *, soft: bool, now: float) -> list[Draft]:
        """Apply the selectors here and queue them, as drafts that share their instant."""
        self._modes.add(selectors, now, soft=soft)
        return [self._queue(batch, soft=soft, applied_at=now) for batch in batches(selectors)]

    def add_paced(self, selectors: Iterable[Selector], *, now: float) -> bool:
        """Apply here; publish in a draft with all that come within the pace. True when one is due now."""
        for selector in selectors:
            self._modes.add((selector,), now, soft=False)
            self._paced.setdefault(selector, now)
        if len(self._paced) > MOST_SELECTORS:
            self._fold()
        return now >= self._paced_at + PACE_SECONDS

    def add_lost(self, drafts: Iterable[Draft]) -> None:
        """Queue what the log has lost; the index has it already."""
        for draft in drafts:
            if draft.uid not in self._unsent:
                self._keep(draft)

    def take(self, *, now: float) -> list[Draft]:
        """The next drafts to append. They stay queued until they are settled."""
        if self._paced and now >= self._paced_at + PACE_SECONDS:
            self._paced_at = now
            paced, self._paced = self._paced, {}
            for batch in batches(list(paced)):
                self._queue(batch, soft=False, applied_at=min(paced.values()))
        return list(islice(self._unsent.values(), MOST_DRAFTS))

    def sent(self, uids: Iterable[str]) -> None:
        """Published in an epoch that we have not read: dated by their instants until we have."""
        for uid in uids:
            draft = self._unsent.pop(uid, None)
            self._selectors -= len(draft.selectors) if draft else 0

    def settle(self, uids: Iterable[str]) -> None:
        """They have their place in the index: their instants are not needed any more."""
        mine = [uid for uid in uids if self.holds(uid)]
        self.sent(mine)
        for uid in mine:
            self._applied_at.pop(uid, None)
        if mine:
            self._forget()

    def settle_sent(self) -> None:
        """The log was read in full: whatever was published is in the index, or among the lost."""
        self.settle([uid for uid in self._applied_at if uid not in self._unsent])

    def judge(self, entry: StoredResponse, *, began_at: float | None) -> Validity:
        """What the drafts make of an entry; `began_at` for our own fetch of it."""
        # A fetch of the same instant may have begun before.
        return self._modes.judge(entry, None if began_at is None else nextafter(began_at, -inf))

    def read_again(self, keyed: Keyed) -> None:
        """Other routes are in force."""
        self._keyed = keyed
        self._modes.read_again(keyed)

    def _queue(self, selectors: tuple[Selector, ...], *, soft: bool, applied_at: float) -> Draft:
        draft = Draft(self._new_uid(), selectors, soft)
        self._applied_at[draft.uid] = applied_at
        self._keep(draft)
        return draft

    def _keep(self, draft: Draft) -> None:
        self._unsent[draft.uid] = draft
        self._selectors += len(draft.selectors)
        if self._selectors > MOST_SELECTORS:
            self._fold()

    def _fold(self) -> None:
        """One draft for all: rather too much than a purge forgotten."""
        soft = not self._paced and all(draft.soft for draft in self._unsent.values())
        instants = [self._applied_at.pop(uid) for uid in self._unsent if uid in self._applied_at]
        applied_at = min((*instants, *self._paced.values()), default=-inf)
        self._unsent.clear()
        self._paced.clear()
        self._selectors = 0
        self._queue((EVERYTHING,), soft=soft, applied_at=applied_at)

    def _forget(self) -> None:
        oldest = min((*self._applied_at.values(), *self._paced.values()), default=inf)
        self._modes.hard.forget(before=oldest)
        self._modes.soft.forget(before=oldest)
