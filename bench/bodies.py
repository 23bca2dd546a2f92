"""What is asked for and what the right answer is: paths, their families and their bodies.

A body follows from its path alone, so that whoever reads an answer can tell whether it is the right one.
"""

from __future__ import annotations

from dataclasses import dataclass

_BEFORE, _BETWEEN, _AFTER = '{"path": "', '", "text": "', '"}'
_TEXT = "sidecache benchmark "
_NUMBER_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Family:
    """Paths of one kind: `/name/00000042`."""

    name: str
    body_bytes: int
    is_stored: bool = True
    delay_seconds: float = 0.0

    def path(self, number: int) -> str:
        return f"/{self.name}/{number:0{_NUMBER_DIGITS}d}"

    @property
    def filler(self) -> str:
        """The part of a body that does not depend on the path."""
        fixed = len(_BEFORE) + len(self.path(0)) + len(_BETWEEN) + len(_AFTER)
        length = self.body_bytes - fixed
        return (_TEXT * (length // len(_TEXT) + 1))[:length]

    def body(self, path: str) -> bytes:
        """The right answer to this path, `body_bytes` long."""
        return f"{_BEFORE}{path}{_BETWEEN}{self.filler}{_AFTER}".encode()


ITEMS = Family("items", 1024)
"""1 KiB of JSON that may be stored: what most scenarios ask for."""
LARGE = Family("large", 100 * 1024)
SMALL = Family("small", 256)
"""What a million of are kept: with 1 KiB the machine would be measured, not the cache."""
PASSED = Family("passed", 1024, is_stored=False)
DELAYED = Family("delayed", 1024, delay_seconds=0.008)
"""An API that takes its usual time: the published scenario's 8 ms."""
SLOW = Family("slow", 1024, delay_seconds=0.2)

FAMILIES = (ITEMS, LARGE, SMALL, PASSED, DELAYED, SLOW)
ETAG = '"v1"'
LIFETIME_SECONDS = 86_400
