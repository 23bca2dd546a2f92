"""Reads the configuration's files whole, remembers which content was read, and notices other content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

MOST_BYTES = 4 << 20

Sources = Mapping[Path, str | None]
"""Files -> the hash of the content that was read; None: it could not be read."""


class Reader:
    """Reads files for one load of the configuration."""

    def __init__(self) -> None:
        self.sources: dict[Path, str | None] = {}

    def text(self, path: Path) -> str | OSError | UnicodeDecodeError:
        """The file's content; as a value, why there is none."""
        self.sources[path] = None
        content = _content(path)
        if isinstance(content, OSError):
            return content
        self.sources[path] = _hash(content)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            return error


def have_changed(sources: Sources) -> bool:
    """Whether any of the files now has other content.

    Content is compared, not times: a ConfigMap is updated by swapping a symlink, maybe to an older file.
    """
    return any(_hash(_content(path)) != known for path, known in sources.items())


def _content(path: Path) -> bytes | OSError:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        return error
    except ValueError as error:  # a NUL in the path
        return OSError(str(error))
    return content if len(content) <= MOST_BYTES else OSError(f"it has more than {MOST_BYTES} bytes")


def _hash(content: bytes | OSError) -> str | None:
    return None if isinstance(content, OSError) else hashlib.sha256(content).hexdigest()
