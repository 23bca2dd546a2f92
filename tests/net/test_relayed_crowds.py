"""Crowds of clients in front of the relay, with purges, reloads and troubles at any moment: nothing is left
behind, everybody is answered, and with nothing older than the last purge before its request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest

from proxy.fleet.leases import Command, Leases, Reading
from proxy.model import StoredResponse, Validity
from proxy.observe.tasks import running
from tests.support.engine_fakes import FakeL2
from tests.support.lane_world import Client
from tests.support.origin_replies import LENGTH, Reply, reply
from tests.support.raw_client import request
from tests.support.raw_origin import RawOrigin, settle
from tests.support.relay_world import NOTHING, World, relay_world

CROWDS = 200
KEPT = reply(LENGTH, b"Server: s")
REPLIES: list[Reply] = [
    *[[KEPT]] * 3,
    [KEPT[:30], KEPT[30:]],
    [KEPT[:-2], "eof"],
    [KEPT, "eof"],
    ["eof"],
    ["reset"],
    [reply(LENGTH, b"Vary: X-Version")],
    [reply(LENGTH, b"Cache-Control: no-store")],
    [reply(LENGTH, b"Cache-Control: max-age=1", b'ETag: "a"')],
    [reply(LENGTH, status=b"HTTP/1.1 503 Busy")],
    [reply(LENGTH, b"Server: s", status=b"HTTP/1.1 404 Not Found")],
]
LINES: list[tuple[str, ...]] = [
    *[()] * 4,
    ("X-Version: 1",),
    ("X-Version: 2",),
    ("Cookie: a=1",),
    ("Cache-Control: no-cache",),
    ("Authorization: x",),
    ("Range: bytes=0-1",),
]
_ANSWER = re.compile(rb"HTTP/1.1 (\d+).*?\r\n\r\n(\d{5})?", re.DOTALL)


class Telling(Sequence[bytes | str]):
    """A reply that says which version the origin had when it was asked, maybe some passes later."""

    def __init__(self, pieces: Reply, version: Callable[[], int], delay: int = 0) -> None:
        self._pieces = pieces
        self._version = version
        self._delay = delay

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, place: Any) -> Any:
        return self._pieces[place]

    def __iter__(self) -> Iterator[bytes | str]:
        said = b"%05d" % self._version()
        whole = b"".join(piece for piece in self._pieces if isinstance(piece, bytes)).replace(b"hello", said)
        yield from [b""] * self._delay
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield whole[: len(piece)]
                whole = whole[len(piece) :]
            else:
                yield piece


class MemoryLink:
    """A server in memory. Replies wait while the gate is closed; some trips fail, and claim nothing."""

    def __init__(self, l2: FakeL2, dice: Random) -> None:
        self._l2 = l2
        self._dice = dice
        self._held: dict[bytes, bytes] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask_all(self, operation: str, commands: Sequence[Command]) -> Any:
        del operation
        await asyncio.sleep(0)
        await self.gate.wait()
        is_down = self._dice.random() < 0.05
        replies = [
            None if is_down and form[0] == "SET" else self._do(form, words) for form, words in commands
        ]
        return ("error", "down") if is_down else replies

    def _do(self, form: Sequence[Any], words: tuple[bytes, ...]) -> Any:
        if form[0] == "GET":
            return self._l2.entries.get(words[0])
        name, token, *lone = words
        if form[0] == "SET":
            holder = self._held.get(name)
            self._held.setdefault(name, token)
            return holder
        if not lone:  # a renewal
            self._held[name] = token
        elif self._held.get(name) == token:
            del self._held[name]
            if lone != [b"0"]:
                self._held[name] = b"lone"
        return 1


class MemoryLeases(Leases):
    """The real ones, on that server."""

    def __init__(self, link: MemoryLink, dice: Random) -> None:
        def reading_of(key: bytes) -> Reading:
            return link, (("GET", None), (key,)), lambda found: found  # type: ignore[return-value]

        super().__init__(
            lambda _: link, reading_of=reading_of, namespace="n", token=lambda: b"%d" % dice.getrandbits(60)
        )

    @property
    def holders(self) -> set[bytes]:
        """What the relay's world calls them."""
        return set(self._held)


class Crowd:
    """What has been asked, by whom, and since which version."""

    def __init__(
        self, made: World, origin: RawOrigin, link: MemoryLink | None, clients: list[Client]
    ) -> None:
        self.made = made
        self.origin = origin
        self.link = link
        self.clients = clients
        self.gone = set[Client]()
        self._least: dict[Client, list[int]] = {client: [] for client in clients}
        self._least[made.client].append(0)  # by which the form was learned

    @property
    def version(self) -> int:
        return sum(not soft for _, soft in self.made.log._purges)

    def ask(self, client: Client, dice: Random) -> None:
        if not client.transport.is_closing():
            self._least[client].append(self.version)
            client.transport.write(request(f"/kept/{dice.randrange(3)}", *dice.choice(LINES)))

    def leave(self, client: Client) -> None:
        self.gone.add(client)
        if not client.transport.is_closing():
            client.reset()

    def hold(self, is_held: bool) -> None:
        """The origin reads no more, or all that is there."""
        for end in self.origin.connections:
            if not end.transport.is_closing():
                (end.stop_reading if is_held else end.read_on)()

    def close_gate(self, is_closed: bool) -> None:
        """No lease is told, or all."""
        if self.link is not None:
            (self.link.gate.clear if is_closed else self.link.gate.set)()

    async def over(self) -> None:
        """Until everybody is answered, and nothing is under way."""
        self.close_gate(False)
        self.hold(False)
        await settle()  # also what somebody sent who has gone is read
        await self.made.quiet()
        async with asyncio.timeout(5):
            while self.made.left != NOTHING or self._waits or _claims():  # noqa: ASYNC110 - many owners, none tells
                await asyncio.sleep(0.001)

    @property
    def _waits(self) -> bool:
        """Is anybody still to be answered?"""
        return any(
            client not in self.gone
            and not client.transport.is_closing()
            and client.received.count(b"HTTP/1.1 ") < len(least)
            for client, least in self._least.items()
        )

    def assert_answered(self) -> None:
        """With what was not yet purged when it was asked for, and once."""
        for client, least in self._least.items():
            answers = _ANSWER.findall(bytes(client.received))
            assert len(answers) <= len(least)
            for (status, said), version in zip(answers, least, strict=False):
                assert status != b"200" or not said or int(said) >= version

    def assert_kept(self) -> None:
        """What is alive is the newest."""
        l2 = {} if self.made.l2 is None else self.made.l2.entries
        for entry in (*self.made.kept_in_l1.values(), *l2.values()):
            if isinstance(entry, StoredResponse) and self.made.log.judge(entry) is Validity.ALIVE:
                assert int(entry.body) == self.version  # type: ignore[arg-type]


def _claims() -> bool:
    """Are leases under way? Also those of who has gone, which are given back."""
    return any(task.get_name() == "leases" for task in running())


def _step(crowd: Crowd, _: float) -> None:
    crowd.made.clock.step(2.0)
    crowd.made.monotonic.step(2.0)


def _sync(crowd: Crowd, roll: float) -> None:
    crowd.made.log.is_synced = roll < 0.5


def _drain(crowd: Crowd, roll: float) -> None:
    if roll < 0.1:
        crowd.made.listener.drain()


EVENTS: Mapping[str, Callable[[Crowd, float], None]] = {
    "purge": lambda crowd, roll: crowd.made.log.purge(soft=roll < 0.3),
    "reload": lambda crowd, roll: crowd.made.reload(x_cache_status=roll < 0.5),
    "origin": lambda crowd, roll: crowd.hold(roll < 0.5),
    "gate": lambda crowd, roll: crowd.close_gate(roll < 0.4),
    "log": _sync,
    "time": _step,
    "drain": _drain,
    "L1": lambda crowd, _: crowd.made.memory.clear(),
}


async def _play(crowd: Crowd, dice: Random) -> None:
    for _ in range(dice.randrange(4, 25)):
        client, roll = dice.choice(crowd.clients), dice.random()
        if roll < 0.45:
            crowd.ask(client, dice)
        elif roll < 0.48:
            crowd.leave(client)
        else:
            EVENTS[dice.choice([*EVENTS])](crowd, dice.random())
        if dice.random() < 0.5:
            await asyncio.sleep(0)
        if dice.random() < 0.3:
            await settle()
    if dice.random() < 0.2:
        crowd.close_gate(False)
        crowd.gone.update(crowd.clients)
        await crowd.made.listener.finish(0)
        await crowd.made.origin.aclose(0)


async def _tell(seed: int, *, has_l2: bool) -> None:
    dice = Random(seed)
    l2 = FakeL2() if has_l2 else None
    link = None if l2 is None else MemoryLink(l2, dice)
    leases: Any = None if link is None else MemoryLeases(link, dice)
    crowds: list[Crowd] = []

    def version() -> int:
        return crowds[0].version if crowds else 0

    delayed = [Telling(pieces, version, dice.choice([0, 1, 3, 6])) for pieces in dice.choices(REPLIES, k=40)]
    replies, origin_of = [Telling([KEPT], version), *delayed], {"max_in_flight": dice.choice([1, 2, 100])}
    async with relay_world(*replies, l2=l2, leases=leases, origin=origin_of) as (made, origin):
        await made.send(request("/kept/first"))
        await made.quiet()
        crowd = Crowd(made, origin, link, [made.client, await made.another(), await made.another()])
        crowds.append(crowd)
        await _play(crowd, dice)
        await crowd.over()
        if leases is not None:
            await leases.aclose()
        crowd.assert_answered()
        crowd.assert_kept()


@pytest.mark.parametrize("has_l2", [False, True], ids=["alone", "fleet"])
@pytest.mark.parametrize("seed", range(CROWDS))
async def test_a_crowd_is_answered_and_leaves_nothing(seed: int, has_l2: bool) -> None:
    before = running()
    await _tell(seed, has_l2=has_l2)
    await settle()

    assert not running() - before
