"""A listener, a whole engine and an origin client in front of an origin whose every byte is given: a request,
with the relay or without it, must end alike.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any, NamedTuple

import pytest

from proxy.config.schema import Address, Config
from proxy.engine.assembly import assemble
from proxy.engine.request_flow import RequestFlow
from proxy.model import Entry
from proxy.net import plain_lane, relayed, response_form, response_head
from proxy.net.listener import Listener
from proxy.net.origin import OriginClient
from proxy.net.relay import Relay
from proxy.net.response_form import Forms
from proxy.observe.metrics import Metrics
from proxy.store.memory import MemoryStore
from proxy.store.tiered import TieredStore
from tests.support.clocks import SteppedClock
from tests.support.engine_fakes import FakeL2, FakeLeases, FakeLog
from tests.support.lane_world import Client, Lines
from tests.support.origin_replies import Reply
from tests.support.raw_origin import OriginEnd, RawOrigin, settle
from tests.support.responses import NOW

ROUTES: list[dict[str, Any]] = [
    {"name": "off", "match": {"path": "/off/**"}, "cache": False},
    {"name": "kept", "match": {"path": "/kept/**"}, "ttl": "1h"},
    {"name": "alone", "match": {"path": "/alone/**"}, "ttl": "1h", "coalesce": {"scope": "off"}},
    {
        "name": "keyed",
        "match": {"path": "/keyed/**"},
        "ttl": "1h",
        "key": {"query": {"include": ["id"], "forward": "keyed"}, "headers": ["X-Who"]},
    },
]
_DATE = re.compile(rb"Date: [^\r]*")
_TIMED = re.compile(r"_seconds_(bucket|sum)|_created")
_PATIENCE_SECONDS = 10.0


class Outside(NamedTuple):
    """All that can be seen of a telling."""

    received: bytes
    has_ended: bool
    asked: list[bytes]
    """All bytes of each connection to the origin."""
    metrics: str
    lines: list[tuple[Any, ...]]
    purged: list[Any]
    kept: list[dict[bytes, Entry]]
    """By the keys, in L1 and L2."""
    lone: dict[bytes, float]
    """What nobody is to wait for another's fetch of."""


NOTHING = (0, 0, 0, set[bytes]())
"""Is left."""


class World:
    """One telling; `l2` and `leases` where there are other replicas."""

    def __init__(
        self,
        origin: RawOrigin,
        sections: dict[str, Any],
        l2: FakeL2 | None = None,
        leases: FakeLeases | None = None,
    ) -> None:
        asked = {"url": origin.url, "pool": {"min_idle": 0}, **sections.pop("origin", {})}
        config = Config.model_validate({"origin": asked, "routes": ROUTES, **sections})
        self.clock, self.monotonic = SteppedClock(NOW), SteppedClock()
        self.metrics = Metrics()
        self.log = FakeLog(self.monotonic)
        self.l2, self.leases = l2, leases
        self.memory = MemoryStore(
            self.metrics, max_entries=100, max_bytes=10_000_000, max_entry_bytes=1_000_000
        )
        tiers = TieredStore(self.memory, l2, on_error="open")  # type: ignore[arg-type]  # a fake
        self.origin = OriginClient(
            config.origin,
            limits=config.limits,
            forwarded=config.forwarded,
            metrics=self.metrics,
            clock=self.clock,
            monotonic=self.monotonic,
        )
        self.flow = assemble(
            config,
            origin=self.origin,
            tiers=tiers,
            shared=tiers,
            log=self.log,
            leases=leases,
            metrics=self.metrics,
            spool_bytes=1_000_000,
            clock=self.clock,
            monotonic=self.monotonic,
            dice=lambda: 0.5,
        )
        self.config = config
        self.lines = Lines(self.metrics)
        self.listener = Listener(self.flow, config, self.metrics, self.lines, self.origin)
        self.client = Client()
        self._others: list[Client] = []

    @property
    def relayed(self) -> int:
        """How many requests the relay has under way."""
        return len(self.listener._service.relayed)

    @property
    def kept_in_l1(self) -> dict[bytes, Entry]:
        """By their keys."""
        return {key: held.entry for key, held in self.memory.entries()}

    @property
    def left(self) -> tuple[int, int, int, set[bytes]]:
        """Flights, what the relay has under way, requests to the origin, leases: none once all is over."""
        leases = set[bytes]() if self.leases is None else self.leases.holders
        return len(self.flow._filling.flights), self.relayed, self.origin._admission.in_flight, leases

    def outside(self, origin: RawOrigin) -> Outside:
        """What is to be seen by now."""
        metrics = self.metrics.exposition().decode().splitlines()
        return Outside(
            _DATE.sub(b"Date: -", bytes(self.client.received)),
            self.client.transport.is_closing(),
            [bytes(end.received) for end in origin.connections],
            "\n".join(line for line in metrics if not _TIMED.search(line)),
            self.lines.written,
            list(self.log.purged),
            [self.kept_in_l1, {} if self.l2 is None else dict(self.l2.entries)],
            {} if self.leases is None else dict(self.leases.lone),
        )

    async def connect(self) -> None:
        """The client."""
        self.client = await self.another()

    async def another(self) -> Client:
        """One more."""
        (server,) = self.listener._servers
        where = server.sockets[0].getsockname()
        _, client = await asyncio.get_running_loop().create_connection(Client, *where)
        self._others.append(client)
        return client

    def leave(self) -> None:
        """All clients."""
        for client in self._others:
            client.transport.close()

    async def send(self, data: bytes) -> None:
        """Bytes of the client's, read before this ends."""
        if not self.client.transport.is_closing():
            self.client.transport.write(data)
        await settle()

    def reload(self, **changes: Any) -> None:
        """As the process does, with these sections changed."""
        self.config = config = self.config.model_copy(update=changes)
        self.flow.use(config)
        self.origin.use(config.forwarded, frozenset())
        self.listener.use(config)

    async def quiet(self) -> None:
        """Until nothing is under way any more."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            lane, service = self.listener._lane, self.listener._service
            while service.under_way or self.relayed or (lane and lane._asking):
                await settle()
            # Also what comes behind the last answer, an end above all.
            for _ in range(3):
                await settle()


@asynccontextmanager
async def relay_world(
    *replies: Reply,
    is_relayed: bool = True,
    l2: FakeL2 | None = None,
    leases: FakeLeases | None = None,
    **sections: Any,
) -> AsyncIterator[tuple[World, RawOrigin]]:
    """The origin's replies take turns; forms are learned at the first sight of their names."""
    following = cycle(replies)

    async def script(end: OriginEnd) -> None:
        while True:
            head = await end.head()
            length = re.search(rb"\r\nContent-Length: (\d+)", head)
            await end.exactly(int(length[1]) if length else 0)
            for piece in next(following):
                await _say(end, piece)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_lane, "LEARNING_SECONDS", 0.0)
        patch.setattr(response_form, "SIGHTINGS", 1)
        patch.setattr(response_head, "forms", Forms(response_head._STATUS_LINE))
        if not is_relayed:
            patch.setattr(Relay, "pass_on", lambda *_: False)
            patch.setattr(RequestFlow, "begin_fill", lambda *_: None)
        async with RawOrigin(script) as origin:
            made = World(origin, dict(sections), l2, leases)
            await made.origin.start()
            await made.listener.start(Address("127.0.0.1", 0))
            await made.connect()
            try:
                yield made, origin
            finally:
                made.leave()
                await made.listener.finish(0)
                await made.origin.aclose(0)
    assert not made.relayed
    assert made.origin._admission.in_flight == 0


async def _say(end: OriginEnd, piece: bytes | str) -> None:
    if isinstance(piece, bytes):
        await end.send(piece)
    elif piece == "eof":
        end.close()
        await settle()
        raise ConnectionError
    elif piece == "reset":
        end.reset()
        await settle()
        raise ConnectionError


class Looked:
    """What the origin said to requests that the relay had sent, and whether it has answered them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.answered: list[bytes] = []
        self.handed_over: list[bytes] = []
        answer = relayed.Relayed._answer

        def looking(one: Any, data: bytes) -> bool:
            has_answered = answer(one, data)
            (self.answered if has_answered else self.handed_over).append(data)
            return has_answered

        patch.setattr(relayed.Relayed, "_answer", looking)


async def told(
    requests: Sequence[bytes],
    replies: Sequence[Reply],
    *,
    is_relayed: bool,
    has_l2: bool = False,
    **sections: Any,
) -> Outside:
    """What is to be seen once these requests have been sent one by one, and answered."""
    l2 = FakeL2() if has_l2 else None
    leases = FakeLeases(l2) if has_l2 else None
    opened = relay_world(*replies, is_relayed=is_relayed, l2=l2, leases=leases, **sections)
    async with opened as (made, origin):
        for data in requests:
            await made.send(data)
            await made.quiet()
        return made.outside(origin)


async def assert_equal(sent: list[bytes], *replies: Reply, **sections: Any) -> Looked:
    """What the relay has seen of it."""
    with pytest.MonkeyPatch.context() as patch:
        looked = Looked(patch)
        with_relay = await told(sent, replies, is_relayed=True, **sections)
    without = await told(sent, replies, is_relayed=False, **sections)
    for seen, expected in zip(with_relay, without, strict=True):
        assert seen == expected
    return looked
