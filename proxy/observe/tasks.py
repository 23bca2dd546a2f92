"""The one place that starts tasks: each has a name, an owner that keeps it, and a logged end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

_log = structlog.get_logger("sidecache.tasks")
_Tasks = set[asyncio.Task[Any]]
_running: dict[asyncio.Task[Any], _Tasks | None] = {}
"""And in which set their owner has them."""


def spawn(
    name: str,
    work: Coroutine[Any, Any, T],
    *,
    within: _Tasks | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> asyncio.Task[T]:
    """Start `work` as a task. The loop keeps only weak references, so we keep a strong one.

    `within` has it too, until it ends. `loop` is the one that runs, for those who know it: to ask for it
    takes a system call.
    """
    task = (loop or asyncio.get_running_loop()).create_task(work, name=name)
    _running[task] = within
    if within is not None:
        within.add(task)
    task.add_done_callback(_ended)
    return task


def running() -> frozenset[asyncio.Task[Any]]:
    """The tasks that have not ended; a clean stop leaves none."""
    return frozenset(_running)


def _ended(task: asyncio.Task[Any]) -> None:
    within = _running.pop(task, None)
    if within is not None:
        within.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        _log.error("task crashed", task=task.get_name(), exc_info=error)
