"""One server, asked with a deadline behind a breaker: real servers, behind a link that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

import pytest
from redis import exceptions
from redis.asyncio import Redis
from structlog.testing import capture_logs

from proxy.observe.metrics import Metrics
from proxy.observe.tasks import running, spawn
from proxy.store.breaker import CALM_SECONDS, PROBE_SECONDS
from proxy.store.redis_client import connect
from proxy.store.redis_link import Failure, Fault, Question, RedisLink, failure_of
from tests.support.clocks import GatedPause, SteppedClock
from tests.support.cut_link import CutLink
from tests.support.valkey import Valkey, free_port

ON_BOTH_LOOPS = True

TIMEOUT = 0.2
SLACK = 0.3
"""Seconds that a busy machine may take longer than a deadline says."""


async def ping(client: Redis) -> object:
    return await client.execute_command("PING")


def echo(word: bytes) -> Question[bytes]:
    async def command(client: Redis) -> bytes:
        answer: bytes = await client.execute_command("ECHO", word)
        return answer

    return command


@dataclass
class Setup:
    """A link to the server at `url`, whose clock and pauses are the test's."""

    url: str
    timeout: float = TIMEOUT
    max_connections: int = 8
    probe: Question[object] = ping
    metrics: Metrics = field(default_factory=Metrics)
    clock: SteppedClock = field(default_factory=SteppedClock)
    doubts: int = 0

    def __post_init__(self) -> None:
        self.pause = GatedPause(self.clock)
        self.link = RedisLink(
            connect(self.url, timeout=self.timeout, max_connections=self.max_connections),
            timeout=self.timeout,
            probe=self.probe,
            metrics=self.metrics,
            doubt=self.doubt,
            clock=self.clock,
            pause=self.pause,
        )

    def doubt(self) -> None:
        self.doubts += 1

    async def fault(self, command: Question[object] = ping) -> Fault | None:
        """How asking fails; None when it is answered."""
        answer = await self.link.ask("get", command)
        return answer.fault if isinstance(answer, Failure) else None

    async def until_closed(self) -> None:
        """Wait for a probe under way to be answered."""
        async with asyncio.timeout(5):
            while self.link.is_open:  # noqa: ASYNC110 - a state, not an event
                await asyncio.sleep(0.001)

    def probes(self) -> dict[str, int]:
        counts = self.metrics.l2_operations.values.items()
        return {result: count for (operation, result), count in counts if operation == "probe"}


@asynccontextmanager
async def linked(url: str, **changes: object) -> AsyncIterator[Setup]:
    setup = Setup(url, **changes)  # type: ignore[arg-type]
    try:
        yield setup
    finally:
        await setup.link.aclose()
        assert "l2 probe" not in {task.get_name() for task in running()}


async def test_a_server_that_answers_is_asked(server: Valkey) -> None:
    async with linked(server.url) as setup:
        assert await setup.link.ask("get", echo(b"word")) == b"word"
        assert not setup.link.is_open
        assert repr(setup.link) == "<RedisLink <Breaker closed>>"
        assert setup.metrics.l2_seconds.cells.keys() == {("get",)}


async def test_one_refused_connection_opens_the_breaker() -> None:
    async with linked(f"redis://127.0.0.1:{free_port()}") as setup:
        assert await setup.fault() is Fault.UNREACHABLE
        assert setup.link.is_open
        assert await setup.fault() is Fault.BREAKER


async def test_an_unknown_host_opens_the_breaker() -> None:
    async with linked("redis://no-such-host.invalid", timeout=5.0) as setup:
        assert await setup.fault() in {Fault.UNREACHABLE, Fault.TIMEOUT}
        assert setup.link.is_open


async def test_a_host_that_is_no_name_opens_the_breaker() -> None:
    async with linked(f"redis://{'x' * 64}.test") as setup:
        assert await setup.fault() is Fault.UNREACHABLE


async def test_a_black_hole_costs_one_deadline(server: Valkey) -> None:
    async with CutLink(server.port) as cut, linked(cut.url) as setup:
        assert await setup.fault() is None
        cut.stall()
        began_at = monotonic()

        faults = await asyncio.gather(*(setup.fault() for _ in range(50)))

        assert TIMEOUT <= monotonic() - began_at < TIMEOUT + SLACK
        assert set(faults) == {Fault.TIMEOUT}
        began_at = monotonic()
        assert await setup.fault() is Fault.BREAKER
        assert monotonic() - began_at < TIMEOUT / 2


async def test_a_black_hole_at_the_first_connect_costs_one_deadline(own_server: Valkey) -> None:
    own_server.pause()
    async with linked(own_server.url) as setup:
        began_at = monotonic()

        assert await setup.fault() is Fault.TIMEOUT
        assert monotonic() - began_at < TIMEOUT + SLACK


async def test_waiting_for_a_connection_is_within_the_deadline(server: Valkey) -> None:
    async with CutLink(server.port) as cut, linked(cut.url, max_connections=1) as setup:
        cut.delay_seconds = 2 * TIMEOUT
        began_at = monotonic()

        faults = await asyncio.gather(*(setup.fault() for _ in range(20)))

        assert monotonic() - began_at < TIMEOUT + SLACK
        assert None not in faults


async def test_a_server_killed_in_mid_question_fails_it(own_server: Valkey) -> None:
    async with linked(own_server.url, timeout=10.0) as setup:
        await setup.fault()
        own_server.pause()
        asking = spawn("asking", setup.fault())
        await asyncio.sleep(0.05)

        own_server.kill()

        assert await asking is Fault.UNREACHABLE
        assert setup.link.is_open


async def test_a_server_killed_between_questions_fails_one(own_server: Valkey) -> None:
    async with linked(own_server.url) as setup:
        await setup.fault()
        own_server.kill()

        assert await setup.fault() is Fault.UNREACHABLE


async def test_a_connection_that_was_closed_while_idle_costs_nothing(own_server: Valkey) -> None:
    async with linked(own_server.url) as setup:
        await setup.fault()
        own_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.05)  # the end of the connection is on its way

        assert await setup.fault() is None
        assert not setup.link.is_open


@pytest.mark.parametrize("password", [":wrong@", ""])
async def test_a_wrong_password_is_a_refusal(own_server: Valkey, password: str) -> None:
    own_server.ask("CONFIG", "SET", "requirepass", "right")
    async with linked(own_server.url.replace("://", f"://{password}")) as setup:
        assert await setup.fault() is Fault.REFUSED


async def test_an_answer_that_came_too_late_answers_nobody_else(server: Valkey) -> None:
    async with CutLink(server.port) as cut, linked(cut.url, timeout=0.05) as setup:
        for number in range(40):
            word = b"%d" % number
            cut.delay_seconds = 0.1 if number % 4 == 0 else 0.0

            answer = await setup.link.ask("get", echo(word))

            cut.delay_seconds = 0.0
            if isinstance(answer, Failure):
                setup.clock.step(CALM_SECONDS)
                await setup.pause.end_next()
                await setup.until_closed()
            else:
                assert answer == word


class TestProbing:
    async def test_a_calm_server_is_probed_once_its_questions_have_ended(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, linked(cut.url) as setup:
            cut.cut()
            await setup.fault()
            cut.restore()

            assert await setup.pause.end_next() == TIMEOUT
            await setup.until_closed()

            assert await setup.fault() is None
            assert setup.probes() == {"ok": 1}

    async def test_a_silent_server_is_probed_each_second(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, linked(cut.url) as setup:
            cut.cut()
            await setup.fault()
            waits = [await setup.pause.end_next() for _ in range(4)]
            waits.append(await setup.pause.begun())
            assert setup.link.is_open

            cut.restore()
            setup.pause.end()
            await setup.until_closed()

            assert waits == [TIMEOUT] + [PROBE_SECONDS] * 4
            assert setup.probes() == {"unreachable": 4, "ok": 1}

    async def test_a_server_that_fails_again_soon_waits_for_its_probe(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, linked(cut.url) as setup:
            waits = []
            for _ in range(2):
                cut.cut()
                await setup.fault()
                cut.restore()
                waits.append(await setup.pause.end_next())
                await setup.until_closed()

            assert waits == [TIMEOUT, PROBE_SECONDS]

    async def test_the_server_is_asked_on_fresh_connections(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, linked(cut.url) as setup:
            await asyncio.gather(*(setup.fault() for _ in range(5)))
            before = cut.accepted
            cut.stall()
            await setup.fault()
            cut.flow()

            await setup.pause.end_next()
            await setup.until_closed()
            await asyncio.gather(*(setup.fault() for _ in range(5)))

            assert cut.accepted >= before + 2
            assert cut.open_connections == cut.accepted - before

    async def test_an_open_breaker_asks_nothing_but_the_probe(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, linked(cut.url) as setup:
            cut.cut()
            await setup.fault()
            before = cut.accepted

            faults = [await setup.fault() for _ in range(100)]

            assert set(faults) == {Fault.BREAKER}
            assert cut.accepted == before

    async def test_only_changes_are_logged(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, linked(cut.url) as setup:
            with capture_logs() as lines:
                cut.cut()
                for _ in range(10):
                    await setup.fault()
                await setup.pause.end_next()
                await setup.pause.end_next()
                await setup.pause.begun()
                cut.restore()
                setup.pause.end()
                await setup.until_closed()

            assert [(line["event"], line.get("fault")) for line in lines] == [
                ("L2 failed, going on without it", "unreachable"),
                ("L2 answers again", None),
            ]


class TestStart:
    async def test_a_server_that_is_there_closes_the_breaker(self, server: Valkey) -> None:
        async with linked(server.url) as setup:
            await setup.link.start()

            assert not setup.link.is_open
            assert setup.probes() == {"ok": 1}

    async def test_a_server_that_is_down_may_come_later(self, own_server: Valkey) -> None:
        own_server.kill()
        async with linked(own_server.url) as setup:
            await setup.link.start()
            assert setup.link.is_open

            own_server.start()
            await setup.pause.end_next()
            await setup.until_closed()

            assert await setup.fault() is None

    async def test_a_black_hole_delays_the_start_by_one_deadline(self, own_server: Valkey) -> None:
        own_server.pause()
        async with linked(own_server.url) as setup:
            began_at = monotonic()
            await setup.link.start()

            assert monotonic() - began_at < TIMEOUT + SLACK
            assert setup.link.is_open


class TestClosing:
    async def test_what_is_asked_after_the_end_starts_no_probe(self, own_server: Valkey) -> None:
        async with linked(own_server.url, timeout=1.0) as setup:
            await setup.fault()
            own_server.pause()
            asking = spawn("asking", setup.fault())
            await asyncio.sleep(0)

            await setup.link.aclose()

            assert await asking in {Fault.TIMEOUT, Fault.UNREACHABLE}
            assert "l2 probe" not in {task.get_name() for task in running()}

    async def test_closing_ends_a_probe_that_waits(self) -> None:
        async with linked(f"redis://127.0.0.1:{free_port()}") as setup:
            await setup.fault()
            probes = [task for task in running() if task.get_name() == "l2 probe"]

            await setup.link.aclose()

            assert [probe.cancelled() for probe in probes] == [True]


ERRORS: list[tuple[BaseException, Fault]] = [
    (TimeoutError(), Fault.TIMEOUT),
    (exceptions.TimeoutError("Timeout reading"), Fault.TIMEOUT),
    (exceptions.OutOfMemoryError("used memory > 'maxmemory'"), Fault.OOM),
    (exceptions.ReadOnlyError("You can't write against a read only replica."), Fault.READ_ONLY),
    (exceptions.NoPermissionError("no permissions"), Fault.REFUSED),
    (exceptions.AuthenticationError("invalid password"), Fault.REFUSED),
    (exceptions.ResponseError("unknown"), Fault.REFUSED),
    (exceptions.BusyLoadingError("loading"), Fault.UNREACHABLE),
    (exceptions.ConnectionError("refused"), Fault.UNREACHABLE),
    (exceptions.MaxConnectionsError("too many"), Fault.UNREACHABLE),
    (exceptions.InvalidResponse("protocol"), Fault.UNREACHABLE),
    (exceptions.RedisClusterException("no node"), Fault.UNREACHABLE),
    (exceptions.MovedError("1 127.0.0.1:7000"), Fault.MOVED),
    (exceptions.AskError("1 127.0.0.1:7000"), Fault.ASK),
    (exceptions.TryAgainError("keys of one slot on two nodes"), Fault.ASK),
    (exceptions.ClusterDownError("The cluster is down"), Fault.UNREACHABLE),
    (exceptions.ResponseError("NOREPLICAS Not enough good replicas"), Fault.NO_REPLICAS),
    (ConnectionResetError("reset"), Fault.UNREACHABLE),
    (RuntimeError("unable to perform operation on <TCPTransport closed>"), Fault.UNREACHABLE),
]


@pytest.mark.parametrize(("error", "fault"), ERRORS)
def test_every_exception_is_one_fault(error: BaseException, fault: Fault) -> None:
    assert failure_of(error).fault is fault


def test_a_failure_always_says_something() -> None:
    assert failure_of(TimeoutError()) == Failure(Fault.TIMEOUT, "TimeoutError")


@pytest.mark.parametrize(("error", "fault"), ERRORS)
async def test_no_exception_comes_out_or_ends_the_probes(error: BaseException, fault: Fault) -> None:
    failing = [error, error]

    async def command(client: Redis) -> object:
        if failing:
            raise failing.pop()
        return b"PONG"

    async with linked(f"redis://127.0.0.1:{free_port()}", probe=command) as setup:
        answer = await setup.fault(command)
        await setup.pause.end_next()
        again = await setup.pause.end_next()
        await setup.until_closed()

    assert (answer, again, failing) == (fault, PROBE_SECONDS, [])


async def test_a_server_that_fails_is_doubted_with_every_probe(own_server: Valkey) -> None:
    async with linked(own_server.url) as setup:
        own_server.kill()
        await setup.fault()
        assert setup.doubts == 1
        await setup.pause.end_next()
        await setup.pause.begun()
        assert setup.doubts == 2


async def test_commands_travel_together_and_fail_alone(server: Valkey) -> None:
    server.ask("SET", "word", "x")
    async with linked(server.url) as setup:
        replies = await setup.link.ask_all("set", [(("GET", "word"), ()), (("INCR", "word"), ())])

        assert isinstance(replies, list)
        assert replies[0] == b"x"
        assert isinstance(replies[1], Failure)
        assert replies[1].fault is Fault.REFUSED
        assert (setup.doubts, setup.link.is_open) == (0, False)
