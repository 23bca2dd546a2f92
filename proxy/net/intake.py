"""A client's bytes between the socket and the parser, cut where heads and bodies end.

The parser tells neither how much of a head it holds nor where in the bytes a message ended. Fed with
these cuts it is always either between two messages or inside one body, and nothing is ever behind a
message in what it was given. Knows bytes only: no sockets, no parser, no time.
"""

from __future__ import annotations

from typing import Protocol

from proxy.net.head_reading import HEAD_END, fault_in_head, fault_so_far
from proxy.net.refusals import Refusal

_SEAM = len(HEAD_END) - 1
_EMPTY_LINE = b"\r\n"


class BodyCut(Protocol):
    """Knows how many of the next bytes certainly belong to the body."""

    def size_of_next(self, held: bytes, start: int) -> int:
        """How many of `held[start:]` may be given to the parser at once; they count as given."""


class CountedCut:
    """A body of a stated length."""

    __slots__ = ("_remaining",)

    def __init__(self, length: int) -> None:
        self._remaining = length

    def size_of_next(self, held: bytes, start: int) -> int:
        """All up to the stated length."""
        size = min(len(held) - start, self._remaining)
        self._remaining -= size
        return size


class ChunkedCut:
    """A chunked body: it ends with an empty line, after its last chunk or its trailers.

    The data may hold empty lines too, so this cuts more often than needed; the parser knows the end.
    """

    __slots__ = ("_seam",)

    def __init__(self) -> None:
        self._seam = b""
        """The last bytes given, which may be the beginning of an empty line."""

    def size_of_next(self, held: bytes, start: int) -> int:
        """All up to and with the next empty line."""
        seam = self._seam
        across = (seam + held[start : start + _SEAM]).find(HEAD_END)
        if across >= 0:
            self._seam = b""
            return across + len(HEAD_END) - len(seam)
        found = held.find(HEAD_END, start)
        if found >= 0:
            self._seam = b""
            return found + len(HEAD_END) - start
        self._seam = (seam + held[max(start, len(held) - _SEAM) :])[-_SEAM:]
        return len(held) - start


class Intake:
    """Holds what has been received and not yet been given to the parser."""

    __slots__ = ("_clean", "_held", "_max_head", "_skipped", "_start")

    def __init__(self, max_head: int) -> None:
        """`max_head`: the most bytes of one head."""
        self._max_head = max_head
        self._held = b""
        self._start = 0
        """Where in `_held` the bytes begin that nobody has taken; taking copies nothing else."""
        self._clean = 0
        """How many bytes of the head at `_start` have been looked at."""
        self._skipped = False

    def __len__(self) -> int:
        return len(self._held) - self._start

    def __repr__(self) -> str:
        return f"<Intake {len(self)} bytes>"

    @property
    def has_skipped(self) -> bool:
        """The one empty line that may stand before the next request has been ignored."""
        return self._skipped

    def add(self, data: bytes) -> None:
        """Take what the socket gave."""
        self._held = self._held[self._start :] + data if self else data
        self._start = 0

    def clear(self) -> None:
        """Drop it all."""
        self._held = b""
        self._start = self._clean = 0

    def take_all(self) -> bytes:
        """Everything, for whoever reads raw bytes."""
        rest = self._held[self._start :]
        self.clear()
        return rest

    def take_body(self, cut: BodyCut) -> bytes:
        """The next piece of the body; b"" when there is none now."""
        return self._take(cut.size_of_next(self._held, self._start))

    def take_head(self) -> bytes | Refusal | None:
        """The next head, the empty line included. None: its end has not arrived."""
        self._skip_empty_line()
        # The end may straddle what was looked at before and what is new.
        found = self._held.find(HEAD_END, self._start + max(0, self._clean - _SEAM))
        if found < 0:
            return self._judge_partial()
        size = found + len(HEAD_END) - self._start
        if size > self._max_head:
            return Refusal.HEAD_TOO_LARGE
        self._clean, self._skipped = 0, False
        head = self._take(size)
        return fault_in_head(head) or head

    def _take(self, size: int) -> bytes:
        piece = self._held[self._start : self._start + size]
        self._start += size
        if not self:  # an idle connection must not keep its last segment alive
            self._held, self._start = b"", 0
        return piece

    def _skip_empty_line(self) -> None:
        # RFC 9112 §2.2: at least one empty line before a request is to be ignored. A flood is refused.
        if not self._skipped and self._held.startswith(_EMPTY_LINE, self._start):
            self._start += len(_EMPTY_LINE)
            self._skipped = True

    def _judge_partial(self) -> Refusal | None:
        partial = self._held[self._start :]
        if len(partial) > self._max_head:
            return Refusal.HEAD_TOO_LARGE
        if not partial or _EMPTY_LINE.startswith(partial):
            return None
        looked_at, self._clean = self._clean, len(partial)
        return fault_so_far(partial, looked_at=looked_at)
