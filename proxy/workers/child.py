"""One worker process: started, asked, told to end. Whether another follows is the crew's."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process

import orjson

from proxy.children import ending_with_us
from proxy.observe.totals import Snapshot
from proxy.workers.channel import Call, Channel, Reply, Silence
from proxy.workers.orders import Order, encoded

SNAPSHOT = Call("GET", "/-/snapshot")
SNAPSHOT_SECONDS = 2.0


class Child:
    """Made by `launch`. Its pipe stays open: should it outlive us, it reads the end of it and ends."""

    def __init__(self, process: Process, channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self._one_at_a_time = asyncio.Lock()
        self.last_snapshot: Snapshot | None = None
        """What it had counted when it was asked last; None: it has not served yet."""

    def __repr__(self) -> str:
        return f"<Child {self._process.pid} exit_code={self.exit_code}>"

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with, a signal as its negative number; None while it runs."""
        return self._process.returncode

    async def ask(self, call: Call, *, seconds: float) -> Reply | Silence:
        """Its answer, within `seconds`."""
        return await self._channel.ask(call, seconds=seconds)

    async def answers(self) -> bool:
        """Whether it says how it is; then `last_snapshot` is of now."""
        # One after the other: an answer that comes late would let counters fall.
        async with self._one_at_a_time:
            reply = await self.ask(SNAPSHOT, seconds=SNAPSHOT_SECONDS)
            if isinstance(reply, Silence) or reply.status != 200:
                return False
            self.last_snapshot = orjson.loads(reply.body)
            return True

    def tell_to_end(self) -> None:
        """Drain and end; a second time: end at once."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    async def ends_within(self, seconds: float) -> bool:
        """Whether it has ended, waiting for at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: int) -> None:
        if self.exit_code is None:
            self._process.send_signal(number)


async def launch(order: Order) -> Child:
    """Start a worker. On the main thread. Raises OSError."""
    # What a predecessor left there would be in the way, and would be asked.
    order.control.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *ending_with_us([sys.executable, "-m", "proxy", "worker"]),
        stdin=PIPE,
        pass_fds=order.sockets,
        # Ctrl-C on a terminal reaches a whole group; workers are told to end by us, and once.
        start_new_session=True,
    )
    if process.stdin is not None:
        process.stdin.write(encoded(order))
    return Child(process, Channel(order.control))
