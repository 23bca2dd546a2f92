"""Numbered work, dealt out to processes and told of in order: the same whatever their number."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

T = TypeVar("T")

_FRESH = multiprocessing.get_context("spawn")
"""A fork would keep the other end of its own pipe open, and not notice that nobody listens any more."""


def results(work: Callable[[int], T], *, jobs: int) -> Iterator[T]:
    """`work(0)`, `work(1)` and so on, until the caller has enough; then, and on any error, all jobs end."""
    return map(work, count()) if jobs == 1 else _dealt(work, jobs)


def _dealt(work: Callable[[int], T], jobs: int) -> Iterator[T]:
    numbers = _FRESH.Value("q", 0)
    pipes = [_FRESH.Pipe(duplex=False) for _ in range(jobs)]
    processes = [
        _FRESH.Process(target=_work_on, args=(work, numbers, sender), daemon=True) for _, sender in pipes
    ]
    try:
        for process, (_, sender) in zip(processes, pipes, strict=True):
            process.start()
            sender.close()
        yield from _in_order([reader for reader, _ in pipes])
    finally:
        for process in processes:
            if process.is_alive():  # we may have been interrupted before it was started
                process.terminate()
                process.join()


def _in_order(readers: list[Connection]) -> Iterator[Any]:
    early: dict[int, Any] = {}
    for number in count():
        while number not in early:
            for reader in wait(readers):
                early.update([_received(reader)])
        yield early.pop(number)


def _received(reader: Any) -> tuple[int, Any]:
    with suppress(EOFError):
        return reader.recv()
    raise ChildProcessError("a job has ended too early: what it did is not known")


def _work_on(work: Callable[[int], Any], numbers: Any, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who deals out is interrupted, and ends us
    while True:
        with numbers.get_lock():
            number = numbers.value
            numbers.value += 1
        sender.send((number, work(number)))
