"""Text or file -> Config with its warnings, or every fault at once, each with its place.

The only entrance to the configuration; the steps between are the other modules' of this layer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic.main import IncEx

from proxy.config import lint
from proxy.config.checking import check
from proxy.config.composing import Document, compose
from proxy.config.faults import Fault, Misplaced
from proxy.config.files import Reader, Sources
from proxy.config.locating import Places
from proxy.config.nodes import START, Place
from proxy.config.schema import Config
from proxy.config.secret_files import put_secrets
from proxy.config.values import plain_values

_NOT_UTF8 = "found bytes that are not UTF-8"
_SECRETS: Mapping[str, IncEx | bool] = {"admin": {"token": True}, "l2": {"url": True}, "secret": True}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used."""

    config: Config
    warnings: tuple[Fault, ...] = ()
    """What is legal but dangerous."""
    sources: Sources = field(default_factory=dict)
    """The files that it was read from, secrets included."""

    @property
    def digest(self) -> str:
        """Names the policy in force: the same for equal configurations, whatever their comments.

        Secrets are left out: metrics show the digest to everybody, who could try weak tokens against it.
        """
        effective = self.config.model_dump(mode="json", by_alias=True, exclude=_SECRETS)
        return hashlib.sha256(json.dumps(effective, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Faults:
    """Why a configuration cannot be used: at least one fault, in the order of the file."""

    faults: tuple[Fault, ...]
    sources: Sources = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def load(path: Path, *, environ: Mapping[str, str]) -> Loaded | Faults:
    """The configuration in the file; names of secret files in it are relative to the file."""
    reader = Reader()
    text = reader.text(path)
    if isinstance(text, str):
        return load_text(text, name=str(path), environ=environ, directory=path.parent, reader=reader)
    if isinstance(text, OSError):
        return _unread(path, Misplaced(START, f"cannot be read: {text.strerror or text}"), reader)
    return _unread(path, Misplaced(_place_after(text.object[: text.start]), _NOT_UTF8), reader)


def load_text(
    text: str,
    *,
    name: str,
    environ: Mapping[str, str],
    directory: Path = Path(),
    reader: Reader | None = None,
) -> Loaded | Faults:
    """The configuration in `text`; `name` stands for the file in faults."""
    reader = reader or Reader()
    document = compose(text)
    if isinstance(document, Misplaced):
        return _unread(Path(name), document, reader)
    return _loaded(document, name, environ, directory, reader)


def _loaded(
    document: Document, name: str, environ: Mapping[str, str], directory: Path, reader: Reader
) -> Loaded | Faults:
    values, unusable = plain_values(document.root, environ)
    values = {} if values is None else values
    unusable += put_secrets(values, directory=directory, reader=reader)
    checked = check(values, unusable)
    places = Places(name, document.root, values)
    faults = {*map(places.at_place, document.faults), *map(places.of, checked.faults)}
    if faults or checked.config is None:
        return Faults(tuple(sorted(faults)), reader.sources)
    warnings = {*map(places.of, lint.warnings(checked.config))}
    return Loaded(checked.config, tuple(sorted(warnings)), reader.sources)


def _place_after(before: bytes) -> Place:
    """Where what follows `before` stands; it is UTF-8 up to there."""
    line_so_far = before.rpartition(b"\n")[2].decode()
    return Place(before.count(b"\n") + 1, len(line_so_far) + 1)


def _unread(path: Path, misplaced: Misplaced, reader: Reader) -> Faults:
    return Faults((Fault(str(path), *misplaced.place, misplaced.message),), reader.sources)
