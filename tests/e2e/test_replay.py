"""The example that replays traces, with a seeded Zipf stream instead of a file."""

from __future__ import annotations

import lzma
import re
import struct
from pathlib import Path

from tests.support.examples import run


def test_the_origin_sees_each_key_once_and_every_body_is_right() -> None:
    ended = run(
        "replay.py", "--requests", "4000", "--keys", "600", "--seed", "7", "--expect-origin", "distinct"
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4000 of 4000 bodies were right" in ended.stdout
    assert re.search(r"\d+ +\d+\.\d% +from L1", ended.stdout)


def test_l1_alone_has_room_for_all_keys(tmp_path: Path) -> None:
    trace = tmp_path / "twice.u32be.xz"
    # The least recently used is always the next: one entry too few, and each is asked for again.
    trace.write_bytes(lzma.compress(struct.pack(">600I", *range(300), *range(300))))

    ended = run("replay.py", str(trace), "--l2", "off", "--expect-origin", "distinct")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the origin saw 300 requests; 300 saved" in ended.stdout
