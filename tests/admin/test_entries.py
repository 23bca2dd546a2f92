"""What L1 holds, told in slices."""

from __future__ import annotations

import asyncio

import pytest

from proxy.admin.entries import EntryFilter, described
from proxy.model import Held, StoredResponse
from tests.support.operators import NOW, stored


def copies(*responses: StoredResponse) -> list[tuple[bytes, Held]]:
    return [(b"%016d" % number, Held(response, 100, NOW)) for number, response in enumerate(responses)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EntryFilter(), ["/a?x=1", "/a/b", "/b"]),
        (EntryFilter(prefix=b"/a"), ["/a?x=1", "/a/b"]),
        (EntryFilter(prefix=b"/a?x"), ["/a?x=1"]),
        (EntryFilter(tag=b"t"), ["/a/b", "/b"]),
        (EntryFilter(prefix=b"/a", tag=b"t"), ["/a/b"]),
        (EntryFilter(tag=b"T"), []),
        (EntryFilter(limit=2), ["/a?x=1", "/a/b"]),
    ],
)
async def test_prefix_tag_and_limit_choose(wanted, expected):
    held = copies(stored(b"/a?x=1"), stored(b"/a/b", tags=(b"t",)), stored(b"/b", tags=(b"s", b"t")))

    found = await described(held, wanted, now=NOW)

    assert [entry["target"] for entry in found] == expected


async def test_a_stale_entry_has_a_negative_ttl():
    (entry,) = await described(copies(stored(lifetime=4.0)), EntryFilter(), now=NOW)

    assert (entry["age"], entry["ttl"]) == (10.0, -6.0)


async def test_a_secret_in_the_target_is_not_shown():
    (entry,) = await described(copies(stored(b"/a?token=hunter2")), EntryFilter(), now=NOW)

    assert "hunter2" not in str(entry)


async def test_bytes_beyond_ascii_are_shown():
    (entry,) = await described(copies(stored(b"/caf\xe9")), EntryFilter(), now=NOW)

    assert entry["target"] == "/café"


async def test_the_loop_goes_on_between_slices():
    ticks = 0
    is_done = asyncio.Event()

    async def tick() -> None:
        nonlocal ticks
        while not is_done.is_set():
            ticks += 1
            await asyncio.sleep(0)

    async def describe() -> None:
        await described(copies(*[stored()] * 5000), EntryFilter(prefix=b"/nothing"), now=NOW)
        is_done.set()

    await asyncio.gather(describe(), tick())

    assert ticks >= 5
