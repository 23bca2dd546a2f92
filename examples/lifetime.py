"""How the example servers end: on SIGTERM, on Ctrl-C, and with the process that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys


async def until_ended(*, follow_stdin: bool) -> None:
    """Return when this process shall end; with `follow_stdin` also when nobody holds our standard input."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if follow_stdin:
        loop.add_reader(sys.stdin, _end_with_stdin, ended)
    await ended.wait()


def _end_with_stdin(ended: asyncio.Event) -> None:
    """What is readable is either bytes of no interest or the end."""
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        ended.set()
