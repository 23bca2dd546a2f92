from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.config.schema import Origin
from proxy.model import FailureKind, OriginFailure
from proxy.net.dialing import Dialer
from proxy.net.origin_connection import CloseCause, OriginConnection
from tests.support.certificates import Authority, make_authority
from tests.support.raw_origin import OriginEnd, RawOrigin, settle

ON_BOTH_LOOPS = True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


def dialer_for(url: str, **more: Any) -> Dialer:
    return Dialer(Origin.model_validate({"url": url, **more}))


async def failure_of(dialer: Dialer) -> OriginFailure:
    failure = await dialer.dial(opened_at=0)
    assert isinstance(failure, OriginFailure), failure
    return failure


@asynccontextmanager
async def dialled(dialer: Dialer) -> AsyncIterator[OriginConnection]:
    connection = await dialer.dial(opened_at=7)
    assert isinstance(connection, OriginConnection), connection
    yield connection
    connection.close(CloseCause.SHUTDOWN)
    await settle()


async def silent(end: OriginEnd) -> None:
    await end.wait_closed()


async def test_over_tcp() -> None:
    async with RawOrigin(silent) as origin, dialled(dialer_for(origin.url)) as connection:
        connection.write((b"hello",))
        end = await origin.connected()

        assert await end.exactly(5) == b"hello"
        assert connection.opened_at == 7


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with RawOrigin(silent, path=path) as origin, dialled(dialer_for(origin.url)) as connection:
        connection.write((b"hello",))

        assert await (await origin.connected()).exactly(5) == b"hello"


@pytest.mark.parametrize(
    ("url", "authority_of"),
    [
        ("http://127.0.0.1:8000", b"127.0.0.1:8000"),
        ("http://[::1]:8000", b"[::1]:8000"),
        ("https://api.example", b"api.example"),
        ("unix:/run/api.sock", b"localhost"),
    ],
)
def test_its_authority_is_what_host_says_by_default(url: str, authority_of: bytes) -> None:
    assert dialer_for(url).authority == authority_of


async def test_nobody_listening_is_a_refusal() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    assert (await failure_of(dialer_for(f"http://127.0.0.1:{port}"))).kind is FailureKind.REFUSED


async def test_a_missing_unix_socket_is_a_refusal(tmp_path: Path) -> None:
    assert (await failure_of(dialer_for(f"unix:{tmp_path}/none"))).kind is FailureKind.REFUSED


async def test_a_name_that_nobody_knows_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asking a real resolver: a label of 64 letters cannot be asked for."""
    failure = await failure_of(dialer_for(f"http://{'a' * 64}:80"))

    assert failure.kind is FailureKind.REFUSED


async def test_each_connection_resolves_the_name_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    loop = asyncio.get_running_loop()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop's loop cannot be patched; it keeps no names either")
    resolve = loop.getaddrinfo

    async def counted(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return await resolve("127.0.0.1", *rest, **more)

    monkeypatch.setattr(loop, "getaddrinfo", counted)
    async with RawOrigin(silent) as origin:
        dialer = dialer_for(f"http://api.example:{origin.port}")
        asked.clear()
        async with dialled(dialer), dialled(dialer):
            pass

    assert asked == ["api.example", "api.example"]


async def test_tls_with_our_own_authority(authority: Authority) -> None:
    context = authority.server_context(alternative="IP:127.0.0.1")
    async with RawOrigin(silent, tls=context) as origin:
        dialer = dialer_for(origin.url, tls={"ca_file": authority.ca_file})
        async with dialled(dialer) as connection:
            connection.write((b"hello",))
            await settle()

            assert await (await origin.connected()).exactly(5) == b"hello"


async def test_tls_under_another_name(authority: Authority) -> None:
    context = authority.server_context(alternative="DNS:api.example")
    async with RawOrigin(silent, tls=context) as origin:
        tls = {"ca_file": authority.ca_file, "server_name": "api.example"}
        async with dialled(dialer_for(origin.url, tls=tls)) as connection:
            assert connection.is_usable()


@pytest.mark.parametrize("trusted", [True, False], ids=["wrong name", "unknown authority"])
async def test_a_certificate_that_proves_nothing_is_a_refusal(authority: Authority, trusted: bool) -> None:
    context = authority.server_context(alternative="DNS:other.example")
    async with RawOrigin(silent, tls=context) as origin:
        tls = {"ca_file": authority.ca_file} if trusted else {}
        failure = await failure_of(dialer_for(origin.url, tls=tls))
        await settle()

    assert failure.kind is FailureKind.REFUSED
    assert "certificate verify failed" in failure.detail


async def test_a_client_certificate_is_shown_where_asked_for(authority: Authority) -> None:
    context = authority.server_context(alternative="IP:127.0.0.1", asks_clients=True)
    certificate, key = authority.issue("sidecar")
    shown: list[object] = []

    async def script(end: OriginEnd) -> None:
        shown.append(end.transport.get_extra_info("peercert")["subject"])
        await end.wait_closed()

    async with RawOrigin(script, tls=context) as origin:
        tls = {"ca_file": authority.ca_file, "cert_file": certificate, "key_file": key}
        async with dialled(dialer_for(origin.url, tls=tls)):
            await origin.connected()
            await settle()

    assert shown == [((("commonName", "sidecar"),),)]


async def test_plain_http_behind_an_https_url_is_a_refusal() -> None:
    async def plain(end: OriginEnd) -> None:
        await end.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await end.wait_closed()

    async with RawOrigin(plain) as origin:
        failure = await failure_of(dialer_for(f"https://127.0.0.1:{origin.port}"))

    assert failure.kind is FailureKind.REFUSED


async def test_a_handshake_that_never_comes_is_a_timeout() -> None:
    async with RawOrigin(silent) as origin:
        dialer = dialer_for(f"https://127.0.0.1:{origin.port}", connect_timeout=0.05)
        failure = await failure_of(dialer)
        end = await origin.connected()
        await end.closed.wait()

    assert failure == OriginFailure(FailureKind.CONNECT_TIMEOUT, "not within 0.05 s")


async def test_cancelled_within_the_handshake_it_closes_the_socket() -> None:
    async with RawOrigin(silent) as origin:
        dialling = asyncio.get_running_loop().create_task(
            dialer_for(f"https://127.0.0.1:{origin.port}").dial(opened_at=0)
        )
        end = await origin.connected()
        dialling.cancel()
        await asyncio.wait([dialling])
        await end.closed.wait()

    assert dialling.cancelled()


def test_an_unusable_file_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        dialer_for("https://api.example", tls={"ca_file": str(tmp_path / "none.pem")})
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ssl.SSLError):
        dialer_for("https://api.example", tls={"ca_file": str(tmp_path / "empty.pem")})
