"""What is remembered of a target costs the collector nothing."""

from __future__ import annotations

import gc

from proxy.net.planned import Planned


def test_the_collector_need_not_know_of_it() -> None:
    made = Planned(object(), b"shop", b"GET /a", wants_body=True)

    assert not gc.is_tracked(made)
    assert (made.terms, made.standing) == (None, None)
