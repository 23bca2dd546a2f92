"""A plain request to the origin, for which nobody waits yet."""

from __future__ import annotations

from abc import ABC, abstractmethod

from proxy.net.admission import Place
from proxy.net.exchange import Exchange
from proxy.net.origin_connection import OriginConnection


class SentPlain(ABC):
    """One for `OriginClient.try_send`. Then it receives, until `take_over` makes an exchange of it."""

    __slots__ = ("connection", "exchange", "is_sent", "place", "requested_at", "sent_at")

    connection: OriginConnection
    requested_at: float
    """Epoch seconds."""
    sent_at: float
    """On the monotonic clock."""
    exchange: Exchange
    """This and its place: once it was taken over."""
    place: Place
    is_sent: bool
    """Set by `try_send`."""

    @abstractmethod
    def on_bytes(self, data: bytes) -> None:
        """From its connection, as all below."""

    @abstractmethod
    def on_eof(self) -> bool:
        """The origin closed its side."""

    @abstractmethod
    def on_lost(self, error: Exception | None) -> None:
        """The connection is gone."""

    @abstractmethod
    def on_deadline(self) -> None:
        """No answer has come in time."""

    @abstractmethod
    def shut_down(self) -> None:
        """The process is going away."""
