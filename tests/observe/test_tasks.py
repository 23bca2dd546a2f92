"""Tasks are kept while they run, and a crash is logged."""

import asyncio

import pytest
from structlog.testing import capture_logs

from proxy.observe.tasks import running, spawn


async def test_a_task_is_kept_until_it_ends() -> None:
    gate = asyncio.Event()
    task = spawn("waits", gate.wait())

    assert task in running()
    gate.set()
    await task
    await asyncio.sleep(0)
    assert task not in running()


async def test_an_owner_has_it_until_it_ends() -> None:
    owned: set[asyncio.Task[object]] = set()
    ended = spawn("ends", asyncio.sleep(0), within=owned, loop=asyncio.get_running_loop())
    never_begun = spawn("never begins", asyncio.sleep(60), within=owned)

    assert owned == {ended, never_begun}
    never_begun.cancel()
    await asyncio.wait({ended, never_begun})
    await asyncio.sleep(0)
    assert not owned


async def test_a_crash_is_logged_under_the_tasks_name() -> None:
    async def crash() -> None:
        raise ValueError("no")

    with capture_logs() as lines:
        task = spawn("crashes", crash())
        with pytest.raises(ValueError, match="no"):
            await task
        await asyncio.sleep(0)

    assert [(line["event"], line["task"]) for line in lines] == [("task crashed", "crashes")]


async def test_a_cancelled_task_is_no_crash() -> None:
    with capture_logs() as lines:
        task = spawn("cancelled", asyncio.sleep(60))
        task.cancel()
        await asyncio.wait({task})

    assert lines == []
