"""A running sidecar gets another configuration, and every part of it acts upon it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.raw_origin import OK, OriginEnd, RawOrigin
from tests.support.sidecar import Sidecar, ask, running_sidecar

POLICIES = "\nroutes:\n  - {name: all, match: {path: /**}, ttl: 60s}\n"


async def test_a_field_that_a_reload_makes_a_key_can_no_longer_be_hidden(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def script(end: OriginEnd) -> None:
        while True:
            heads.append(await end.head())
            await end.send(OK)

    def before_and_after_reload(sidecar: Sidecar) -> None:
        ask(sidecar.data, "/a", X_Tenant="north", Connection="x-tenant")
        file = tmp_path / "config.yaml"
        file.write_text(file.read_text().replace("ttl: 60s", "ttl: 60s, key: {headers: [X-Tenant]}"))
        assert sidecar.post_admin("/reload", {}).status == 200
        ask(sidecar.data, "/a", X_Tenant="north", Connection="x-tenant")

    async with RawOrigin(script) as origin:
        with running_sidecar(tmp_path, origin.url, POLICIES) as sidecar:
            await asyncio.to_thread(before_and_after_reload, sidecar)

    assert [b"x-tenant: north" in head.lower() for head in heads] == [False, True]
