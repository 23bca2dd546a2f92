"""The example that replays traces, with a seeded Zipf stream instead of a file."""

from __future__ import annotations

import re

from tests.support.examples import run


def test_the_origin_sees_each_key_once_and_every_body_is_right() -> None:
    ended = run(
        "replay.py", "--requests", "4000", "--keys", "600", "--seed", "7", "--expect-origin", "distinct"
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4000 of 4000 bodies were right" in ended.stdout
    assert re.search(r"\d+ +\d+\.\d% +from L1", ended.stdout)
