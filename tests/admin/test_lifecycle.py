"""Started, draining, undone, ending: each change is told once."""

import asyncio

from proxy.admin.lifecycle import UNDO_SECONDS, ProcessLifecycle


class Told:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.lifecycle = ProcessLifecycle(
            on_drain=lambda: self.events.append("drain"), on_undo=lambda: self.events.append("undo")
        )


async def test_ready_once_started() -> None:
    told = Told()
    before = told.lifecycle.is_ready
    told.lifecycle.started()

    assert (before, told.lifecycle.is_ready, told.lifecycle.is_started) == (False, True, True)
    assert told.lifecycle.is_live


async def test_a_drain_is_told_once_and_ends_readiness() -> None:
    told = Told()
    told.lifecycle.started()
    told.lifecycle.drain()
    told.lifecycle.drain()

    assert told.events == ["drain"]
    assert told.lifecycle.is_draining
    assert not told.lifecycle.is_ready
    told.lifecycle.end()
    assert told.events == ["drain"]


async def test_a_drain_without_an_end_undoes_itself() -> None:
    told = Told()
    told.lifecycle.started()
    loop = asyncio.get_running_loop()
    told.lifecycle.drain()
    timer = told.lifecycle._undo
    assert timer is not None
    assert timer.when() - loop.time() > UNDO_SECONDS - 5
    told.lifecycle._take_back()
    timer.cancel()

    assert told.events == ["drain", "undo"]
    assert told.lifecycle.is_ready


async def test_an_end_drains_for_good() -> None:
    told = Told()
    told.lifecycle.started()
    told.lifecycle.end()
    told.lifecycle.drain()

    assert told.events == ["drain"]
    assert told.lifecycle.is_draining


async def test_readiness_waits_for_l1_to_be_filled() -> None:
    is_filling = [True]
    lifecycle = ProcessLifecycle(on_drain=lambda: None, on_undo=lambda: None, warms=lambda: is_filling[0])
    lifecycle.started()
    before = (lifecycle.is_started, lifecycle.is_warming, lifecycle.is_ready)
    is_filling[0] = False

    assert before == (True, True, False)
    assert (lifecycle.is_warming, lifecycle.is_ready) == (False, True)
