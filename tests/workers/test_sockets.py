"""Each worker has sockets of its own on one port, which nobody else can take."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from proxy.config.schema import Address
from proxy.workers.sockets import DataPort


@pytest.fixture
def port() -> Iterator[DataPort]:
    bound = DataPort(Address("127.0.0.1", 0))
    yield bound
    bound.leave()


def test_all_workers_share_the_port_that_was_found(port: DataPort) -> None:
    (address,) = port.addresses
    (one,), (other,) = port.sockets(0), port.sockets(1)

    assert address.port > 0
    assert one.getsockname() == other.getsockname() == (address.host, address.port)
    assert one.fileno() != other.fileno()


def test_a_successor_gets_its_predecessors_sockets(port: DataPort) -> None:
    (one,) = port.sockets(0)
    one.listen()
    with socket.create_connection(one.getsockname()[:2]):
        (again,) = port.sockets(0)
        waiting, _ = again.accept()
        waiting.close()

    assert again is one


def test_withdrawn_sockets_get_no_connection_and_are_made_anew(port: DataPort) -> None:
    (one,), (other,) = port.sockets(0), port.sockets(1)
    one.listen()
    other.listen()
    other.settimeout(5)
    port.withdraw(0)
    for _ in range(8):
        with socket.create_connection(other.getsockname()[:2]):
            other.accept()[0].close()

    assert one.fileno() == -1
    assert port.sockets(0)[0].getsockname() == other.getsockname()


def test_the_port_stays_ours_while_no_worker_listens(port: DataPort) -> None:
    (address,) = port.addresses
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((address.host, address.port))
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect((address.host, address.port))


def test_a_port_that_another_listens_on_is_refused_even_if_that_would_share_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            DataPort(Address(*other.getsockname()))


def test_after_leaving_the_port_is_free() -> None:
    bound = DataPort(Address("127.0.0.1", 0))
    (address,) = bound.addresses
    bound.sockets(0)
    bound.leave()

    with socket.socket() as other:
        other.bind((address.host, address.port))
