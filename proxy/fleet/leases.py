"""One fill per key across replicas: short leases in Redis, each held by the one replica that fetches.

    absent --claim--> our token --release--> absent, or "lone" for a while: each goes on alone
                      renewed while held; ends LEASE_SECONDS after its holder's death

Owns the keys `<namespace>:lease:<hex>`; an ACL needs `+set +get +del +eval ~<namespace>:lease:*`.
A claim brings along what L2 has, looked for after it: who had the lease may have filled L2 meanwhile.
A lease only saves fetches: whoever loses one, or cannot ask, fetches for itself, and the invalidation log
alone decides what may be served. So nothing here is an error, and no wait is longer than one `l2.timeout`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from types import EllipsisType
from typing import Any, NamedTuple, Protocol

import structlog

from proxy.model import NOT_ASKED, Claim, Entry, Found
from proxy.observe.tasks import spawn

LEASE_SECONDS = 1.0
"""How long a lease outlives its holder: half of the default `coalesce.wait`, so that another can take over
while the others still wait."""
RENEW_SECONDS = 0.3
"""Two renewals may be lost, or the loop stand still as long, before another replica fetches too."""
MOST_CLAIMS = 128
"""Of one round trip, releases and renewals among them. A claim is up to two commands, and a thousand commands
would keep the server from all others for a millisecond."""

_LONE = b"lone"
_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""Also where nobody holds it: a server that came back empty forgets no fetch that goes on."""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
return 1
"""
"""Only where it is still ours."""

_log = structlog.get_logger("sidecache.leases")


Then = Callable[[Claim, Found], None]
Form = tuple[str | int | EllipsisType | None, ...]
"""A command's words that are always the same, None for each that is not, `...` for any number of those."""
Command = tuple[Form, tuple[bytes, ...]]
"""The words that are not, in their order."""

_CLAIM: Form = ("SET", None, None, "NX", "GET", "PX", int(LEASE_SECONDS * 1000))
_RENEW_IT: Form = ("EVAL", _RENEW, 1, None, None, int(LEASE_SECONDS * 1000))
# In full each time: two hundred bytes, and no second round trip where the server was restarted.
_RELEASE_IT: Form = ("EVAL", _RELEASE, 1, None, None, None, _LONE.decode())


class Link(Protocol):
    """The way to one server that L2 also takes: with its deadline, behind its breaker."""

    def ask_all(
        self, operation: str, commands: Sequence[Command]
    ) -> Coroutine[Any, Any, list[object] | tuple[Any, str]]:
        """One reply a command, a tuple for one that failed; a tuple: all of them failed."""


Replies = tuple[object, object]
"""To a command, and to the look behind it; any tuple or exception among them is a failure."""


class _Sent(NamedTuple):
    link: Link | None
    command: Command
    look: Command | None
    """Sent behind it."""
    then: Callable[[Replies | None], None] | None
    """Told them, once; None where nobody answered. Or nobody waits."""


LinkOf = Callable[[bytes], Link | None]
"""The way to the server that has a key; None while nobody knows it."""
Reading = tuple[Link, Command, Callable[[object], Entry | None]]
"""How an entry of L2 is read: from where, by what, and what the reply means."""
ReadingOf = Callable[[bytes], Reading | None]
"""How the entry of a key is read; None: not in the round trip of a claim."""


class Leases:
    """The leases of one process. `token` gives what tells it from all others, anew for each lease."""

    def __init__(
        self,
        link_of: LinkOf,
        *,
        reading_of: ReadingOf = lambda key: None,
        namespace: str,
        token: Callable[[], bytes],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._link_of = link_of
        self._reading_of = reading_of
        self._prefix = f"{namespace}:lease:".encode()
        self._token = token
        self._pause = pause
        self._held: dict[bytes, bytes] = {}
        """Key -> our token."""
        self._renewer: asyncio.Task[None] | None = None
        self._waiting: list[_Sent] = []
        """The commands of this tick, which travel together."""
        self._is_refused = False

    def __repr__(self) -> str:
        return f"<Leases {len(self._held)} held>"

    async def claim(self, key: bytes, entry_key: bytes) -> tuple[Claim, Found]:
        """Take the lease of `key` if nobody has it, and what L2 has under `entry_key` after that."""
        # Each caller waits on a future of its own: one that is cancelled takes nobody along.
        answer: asyncio.Future[tuple[Claim, Found]] = asyncio.get_running_loop().create_future()
        self.ask(key, entry_key, partial(self._resolve, key, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():  # in the very step of the answer
                self._give_back(key, *answer.result())
            raise

    def _resolve(
        self, key: bytes, answer: asyncio.Future[tuple[Claim, Found]], claim: Claim, found: Found
    ) -> None:
        if answer.done():
            self._give_back(key, claim, found)
        else:
            answer.set_result((claim, found))

    def _give_back(self, key: bytes, claim: Claim, _found: Found) -> None:
        """Whoever asked has gone."""
        if claim is Claim.HELD:
            self.release(key)

    def ask(self, key: bytes, entry_key: bytes, then: Then) -> None:
        """The same without a wait: `then` is called once, maybe at once.

        In one round trip where both are on one server, whose commands of one connection keep their order.
        """
        if key in self._held:
            then(Claim.TAKEN, NOT_ASKED)
            return
        token, name = self._token(), self._name(key)
        link, reading = self._link_of(name), self._reading_of(entry_key)
        if reading is not None and reading[0] is not link:
            reading = None
        look = None if reading is None else reading[1]
        claimed = partial(self._claimed, key, token, reading, then)
        self._send(_Sent(link, (_CLAIM, (name, token)), look, claimed))

    def _claimed(
        self, key: bytes, token: bytes, reading: Reading | None, then: Then, replies: Replies | None
    ) -> None:
        found: Found = NOT_ASKED
        claim = Claim.UNAVAILABLE
        try:
            if replies is not None:
                # Read before it counts as ours: whatever fails here, it is not renewed.
                found = NOT_ASKED if reading is None else reading[2](replies[1])
                claim = self._held_by(key, token, replies[0])
        finally:
            then(claim, found)

    def _held_by(self, key: bytes, token: bytes, holder: object) -> Claim:
        if holder is not None:
            return _CLAIMS.get(holder, Claim.TAKEN) if isinstance(holder, bytes) else Claim.UNAVAILABLE
        self._held[key] = token
        if self._renewer is None or self._renewer.done():
            self._renewer = spawn("lease renewals", self._renew_all())
        return Claim.HELD

    def release(self, key: bytes, *, lone_seconds: float = 0.0) -> None:
        """Give the lease back soon; for `lone_seconds`, nobody is to wait for another's fetch of `key`."""
        token = self._held.pop(key, None)
        if token is not None:
            name = self._name(key)
            words = (name, token, b"%d" % int(lone_seconds * 1000))
            self._send(_Sent(self._link_of(name), (_RELEASE_IT, words), None, None))

    async def aclose(self) -> None:
        """Renew no more: what is held ends by itself."""
        if self._renewer is not None:
            self._renewer.cancel()
            await asyncio.wait({self._renewer})

    def gauges(self) -> Mapping[str, Callable[[], Mapping[tuple[str, ...], float]]]:
        """The metrics that are read on scrape, by the name in the table of metrics."""
        return {"leases_held": lambda: {(): len(self._held)}}

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key.hex().encode()

    async def _renew_all(self) -> None:
        while True:
            await self._pause(RENEW_SECONDS)
            if not self._held:
                return
            # A renewal that fails or comes too late costs another replica's fetch, nothing else.
            await asyncio.wait([self._renewal(key, token) for key, token in self._held.items()])

    def _renewal(self, key: bytes, token: bytes) -> asyncio.Future[Replies | None]:
        name = self._name(key)
        return self._asked(self._link_of(name), (_RENEW_IT, (name, token)))

    def _asked(self, link: Link | None, command: Command) -> asyncio.Future[Replies | None]:
        """The replies to come."""
        replies: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()
        self._send(_Sent(link, command, None, partial(_settle, replies)))
        return replies

    def _send(self, sent: _Sent) -> None:
        if not self._waiting:
            spawn("leases", self._flush())
        self._waiting.append(sent)

    async def _flush(self) -> None:
        """All that was sent by the time that this task begins: what one tick sends."""
        waiting, self._waiting = self._waiting, []
        by_link: dict[Link | None, list[_Sent]] = {}
        for sent in waiting:
            by_link.setdefault(sent.link, []).append(sent)
        trips = [
            (link, together[start : start + MOST_CLAIMS])
            for link, together in by_link.items()
            for start in range(0, len(together), MOST_CLAIMS)
        ]
        for link, together in trips[1:]:
            spawn("leases", self._exchange(link, together))
        await self._exchange(*trips[0])

    async def _exchange(self, link: Link | None, together: Sequence[_Sent]) -> None:
        replies: Sequence[object] = ()
        looks = _joined([sent.look for sent in together if sent.look is not None])
        try:
            if link is not None:
                answer = await link.ask_all("lease", [*(sent.command for sent in together), *looks])
                replies = answer if isinstance(answer, list) else ()
        finally:
            count = len(together)
            found = _parted(looks, replies[count:])
            for place, sent in enumerate(together):
                seen = None if sent.look is None else next(found, None)
                if sent.then is not None:
                    _tell(sent.then, (replies[place], seen) if replies else None)
            self._note(replies[:count])  # what is looked for behind them is L2's news

    def _note(self, replies: Sequence[object]) -> None:
        """A server that is down is the link's news; one that refuses is ours, and only once."""
        refusal = next((reply for reply in replies if isinstance(reply, tuple)), None)
        if refusal is not None and not self._is_refused:
            _log.warning("leases are refused, each replica fetches for itself", detail=refusal[1])
        if replies:
            self._is_refused = refusal is not None


def _tell(then: Callable[[Replies | None], None], replies: Replies | None) -> None:
    try:
        then(replies)
    except Exception:  # noqa: BLE001 - a defect of ours: it must not leave the others waiting
        _log.exception("who asked for a lease crashed")


def _settle(waiting: asyncio.Future[Replies | None], replies: Replies | None) -> None:
    if not waiting.done():  # whoever asked may have gone
        waiting.set_result(replies)


_CLAIMS = {_LONE: Claim.LONE}
"""What stands in a lease's place -> what a claim of it gives; anything else is another's token."""


def _joined(looks: Sequence[Command]) -> list[Command]:
    """As few commands as may be; the words keep their order."""
    joined: list[Command] = []
    for form, words in looks:
        if joined and joined[-1][0] == form and form[-1] is ...:
            joined[-1] = form, joined[-1][1] + words
        else:
            joined.append((form, words))
    return joined


def _parted(looks: Sequence[Command], replies: Sequence[object]) -> Iterator[object]:
    """The reply to each look: where they were joined, its part."""
    for (form, words), reply in zip(looks, replies, strict=False):
        if form[-1] is not ...:
            yield reply
        elif isinstance(reply, list) and len(reply) == len(words):
            yield from reply
        else:
            yield from (reply if isinstance(reply, tuple) else None for _ in words)
