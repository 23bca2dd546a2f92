"""What heads came to that were here before, byte for byte: for clients that repeat themselves.

Remembers what follows from the bytes alone: nothing of the time, the connection, or who asks. A head enters
when it comes for the second time, so that clients whose every head differs push nothing out; of those only
every sixteenth head is looked for at all.
"""

from __future__ import annotations

from array import array
from typing import Generic, Protocol, TypeVar

from lru import LRU

T = TypeVar("T")

MOST_HEADS = 4096
MOST_HEAD_BYTES = 1024
"""Together this bounds what is remembered to some megabytes."""
TRUST = 64
"""Heads of a client that may be new in a row before it is taken for one that does not repeat itself."""
SKIPPED = 15
"""Heads of such a client that are not looked for, before one is again."""
_MARKS = 4096
"""Places for what was seen once: the hashes of a few thousand heads."""


class Sender(Protocol):
    """Whose heads they are."""

    trust: int
    """Not negative: its next head is looked for. Negative: so many are skipped first."""


class HeadMemo(Generic[T]):
    """What was made of each head. Asked only while the sender's `trust` is not negative."""

    __slots__ = ("_heads", "_marks")

    def __init__(self) -> None:
        self._heads: LRU[bytes, T] = LRU(MOST_HEADS)
        # The hash of bytes is kept with them and has a secret: nobody can choose heads that share a place.
        self._marks = array("q", bytes(8 * _MARKS))

    def __len__(self) -> int:
        return len(self._heads)

    def recall(self, sender: Sender, head: bytes) -> T | None:
        """What was made of this very head."""
        # To hash a long head would cost as much as to read it.
        known: T | None = self._heads.get(head) if len(head) <= MOST_HEAD_BYTES else None
        if known is not None:
            sender.trust = TRUST
        return known

    def consider(self, sender: Sender, head: bytes, made: T | None) -> None:
        """This was made of a head that `recall` did not know. None: of what is not to be remembered."""
        if made is None or len(head) > MOST_HEAD_BYTES:
            sender.trust = -SKIPPED
            return
        mark = hash(head)
        place = mark % _MARKS
        if self._marks[place] == mark:
            self._heads[head] = made
            sender.trust = TRUST
        else:
            self._marks[place] = mark
            sender.trust = sender.trust - 1 if sender.trust else -SKIPPED
