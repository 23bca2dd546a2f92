"""The data port of several workers: reserved once, listened on by each.

Each worker has sockets of its own (SO_REUSEPORT); the kernel spreads connections over them. The supervisor
keeps them open while a worker is replaced: who connects meanwhile waits for its successor.
"""

from __future__ import annotations

import socket

from proxy.config.schema import Address


class DataPort:
    """Bind it before the first worker starts. Raises OSError then, as one process would."""

    def __init__(self, at: Address) -> None:
        self._reserved = _reserved(at)
        self._of: dict[int, list[socket.socket]] = {}

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Those bound, ports filled in."""
        return tuple(Address(*reserved.getsockname()[:2]) for reserved in self._reserved)

    def sockets(self, index: int) -> list[socket.socket]:
        """Those of a worker, or of its predecessor. Raises OSError."""
        if index not in self._of:
            self._of[index] = [_bound_like(reserved) for reserved in self._reserved]
        return self._of[index]

    def withdraw(self, index: int) -> None:
        """No successor comes soon: its part of new connections goes to the others. Who waits is cut off."""
        _close(self._of.pop(index, []))

    def leave(self) -> None:
        """The workers end: the port ends when the last of them has closed it."""
        for index in tuple(self._of):
            self.withdraw(index)
        _close(self._reserved)


def _reserved(at: Address) -> list[socket.socket]:
    """Bound and never listened on: gets no connection, and keeps the port ours while no worker listens."""
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in _resolved(at):
            # Alone, without sharing: else a second sidecar on the port of a first would not be noticed.
            with socket.socket(family, kind, protocol) as probe:
                _bind(probe, where, is_shared=False)
                found_at = probe.getsockname()
            reserved = socket.socket(family, kind, protocol)
            found.append(reserved)
            _bind(reserved, found_at, is_shared=True)
    except OSError:
        _close(found)
        raise
    return found


def _resolved(at: Address) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    found = socket.getaddrinfo(at.host or None, at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys(found))


def _bound_like(reserved: socket.socket) -> socket.socket:
    bound = socket.socket(reserved.family, reserved.type, reserved.proto)
    try:
        _bind(bound, reserved.getsockname(), is_shared=True)
    except OSError:
        bound.close()
        raise
    return bound


def _bind(unbound: socket.socket, where: object, *, is_shared: bool) -> None:
    unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if unbound.family == socket.AF_INET6:
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    unbound.bind(where)  # type: ignore[arg-type]


def _close(sockets: list[socket.socket]) -> None:
    while sockets:
        sockets.pop().close()
