"""A plain request at the origin, for which nobody waits yet."""

from __future__ import annotations

from abc import ABC, abstractmethod

from proxy.net.admission import Place
from proxy.net.exchange import Exchange
from proxy.net.origin_connection import OriginConnection


class SentPlain(ABC):
    """One that `OriginClient.try_send` has sent. It receives, until `take_over` makes an exchange of it."""

    __slots__ = ("connection", "exchange", "head", "place", "requested_at", "sent_at")

    connection: OriginConnection
    place: Place
    requested_at: float
    """Epoch seconds."""
    sent_at: float
    """On the monotonic clock."""

    def __init__(self) -> None:
        self.head: object | None = None
        """Not None once its answer is here."""
        self.exchange: Exchange | None = None
        """Not None once it was taken over."""

    @abstractmethod
    def shut_down(self) -> None:
        """The process is going away."""
