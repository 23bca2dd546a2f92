"""The cyclic collector, told once what a proxy is like: little of what lives is garbage, and none of it old.

Nearly everything ends by reference counts; cycles come from exceptions and tasks only. With Python's
defaults the collector ran 180 times a second while 5,200 requests a second were passed, for 8 % of the time.
"""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects made, less those ended, before the young are looked at: some megabytes of cycles at worst."""
MIDDLE = 20
OLD = 50


def settle() -> None:
    """After start: what was made until now lives for ever and is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
