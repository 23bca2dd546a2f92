"""Whether the index may be believed now: the log was read in time, and all of it was there (R15, R18).

Compared at use, never a flag that a timer clears: a stopped process would serve again before the timer ran.
"""

from __future__ import annotations

from math import inf

from proxy.fleet.log import WhenUnsynced


class Trust:
    """One replica's trust in the log; all instants are monotonic seconds."""

    def __init__(self, *, max_unsynced: float, when_unsynced: WhenUnsynced, now: float) -> None:
        self.until = -inf
        """The log is in step before this instant; a hit compares nothing else."""
        self.grace_until = -inf
        """Before this instant entries of earlier epochs are distrusted: lost records may come back."""
        self._max_unsynced = max_unsynced
        self._when_unsynced = when_unsynced
        self._continuous_until = -inf
        self._changed_at = now

    def seconds_in_state(self, now: float) -> float:
        """For how long it has been believed, or not, without a break."""
        has_run_out = -inf < self.until <= now
        return now - (self.until if has_run_out else self._changed_at)

    def lag_seconds(self, now: float) -> float | None:
        """The log was complete here, as it stood so long ago; None: it never was."""
        sent_at = self._continuous_until - self._max_unsynced
        return now - sent_at if sent_at > -inf else None

    def completed(self, *, sent_at: float, now: float, epoch_age: float) -> bool:
        """A read that was sent at `sent_at` has completed the log. True when a grace has begun.

        The send time counts: what was appended while the reply travelled is not in it.
        """
        was_continuous = now < self._continuous_until
        was_in_grace = now < self.grace_until
        if not was_continuous or was_in_grace:
            self.grace_until = now + 2 * self._max_unsynced - max(0.0, epoch_age)
        if now >= self.until:
            self._changed_at = now
        self.until = self._continuous_until = sent_at + self._max_unsynced
        return now < self.grace_until and not was_in_grace

    def suspend(self, now: float) -> None:
        """The log could not be followed: nothing is believed until it was read again."""
        if self.until > -inf:
            self._changed_at = min(now, self.until)
        self.until = -inf

    def tolerates(self, *, began_at: float | None, is_in_l1: bool, now: float) -> bool:
        """May an entry be used although the log is out of step? `began_at`: our own fetch of it began."""
        if self._when_unsynced == "short":
            return self.is_recent(began_at, now)
        return self._when_unsynced == "serve" and (is_in_l1 or began_at is not None)

    def is_recent(self, began_at: float | None, now: float) -> bool:
        """Our own fetch, and not older than what any replica may be behind."""
        return began_at is not None and now - began_at <= self._max_unsynced
