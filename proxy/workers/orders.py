"""What the supervisor tells a worker: its place, once, on standard input; other configurations, later.

The configuration is handed over as it was loaded: a worker that is started again gets the one in force, not
what the file says by now, and no secret stands on a command line. Pickle is for our own parent only: it comes
by the pipe that it made, or by the socket in the folder that only this user may open.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from proxy.config.schema import Config


@dataclass(frozen=True, slots=True)
class Order:
    """A worker's place."""

    index: int
    name: str
    """As a replica, among those that share an L2. A successor has the same."""
    config: Config
    """With this worker's share of every bound."""
    sockets: tuple[int, ...]
    """Inherited descriptors on which to accept clients."""
    control: Path
    """Where the worker is to be reached."""
    supervisor: Path
    """Where the supervisor is to be reached."""


def encoded(order: Order) -> bytes:
    """For the pipe."""
    return pickle.dumps(order)


def read_order(pipe: BinaryIO) -> Order | None:
    """The order; None: the supervisor ended before it gave one."""
    try:
        order: Order = pickle.load(pipe)  # noqa: S301 - from our parent
    except EOFError:
        return None
    return order


def encoded_config(config: Config) -> bytes:
    """For the control socket."""
    return pickle.dumps(config)


def decoded_config(body: bytes) -> Config:
    """The inverse."""
    config: Config = pickle.loads(body)  # noqa: S301 - from our parent
    return config
