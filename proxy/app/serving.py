"""The entrances: a sidecar of one process or of several, and one of the several."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog
import uvloop

from proxy.app.alone import Alone
from proxy.app.process import Process
from proxy.config.loading import Loaded
from proxy.observe import logs
from proxy.store.unavailable import StoreUnavailable

EXIT_FAULTY = 2

_log = structlog.get_logger("sidecache")


def serve(loaded: Loaded, *, source: Path | None) -> int:
    """Run the sidecar until SIGTERM or SIGINT; the exit code. `source` is watched for changes."""
    config = loaded.config
    logs.configure(level=config.logs.level, form=config.logs.format)
    for warning in loaded.warnings:
        _log.warning("configuration", warning=str(warning))
    if config.workers > 1:
        # A process alone does not load what only several need.
        from proxy.app.supervisor import Supervisor  # noqa: PLC0415

        return _run(Supervisor(loaded, source).run())
    return _run(Process(config, Alone(loaded, source)).run())


def work() -> int:
    """Run one worker, as the supervisor says on standard input; the exit code."""
    from proxy.app.member import Member  # noqa: PLC0415
    from proxy.workers.orders import read_order  # noqa: PLC0415

    order = read_order(sys.stdin.buffer)
    if order is None:
        return EXIT_FAULTY
    logs.configure(level=order.config.logs.level, form=order.config.logs.format)
    return _run(Process(order.config, Member(order)).run())


def _run(work_to_do: Coroutine[Any, Any, None]) -> int:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work_to_do)
    except (StoreUnavailable, OSError) as error:
        _log.error("cannot start", error=str(error))
        return EXIT_FAULTY
    return 0
