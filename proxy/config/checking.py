"""Plain values -> a Config, or everything that is wrong with them: shapes and meaning together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from proxy.config import explaining, lint
from proxy.config.faults import Finding
from proxy.config.nodes import Path
from proxy.config.schema import Config

_SOME_ORIGIN = "http://127.0.0.1"


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check` found; the config is None only where its shape is wrong."""

    config: Config | None
    faults: tuple[Finding, ...]


def check(values: Any, unusable: Iterable[Finding] = ()) -> Checked:
    """All that is wrong with `values`, beside what is known already to be `unusable` in them."""
    known = tuple(unusable)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        shape = tuple(_unrelated(explaining.findings(error, values), known))
        partial = _Partial.of(values, (*known, *shape))
        meaning = partial.faults() if partial else ()
        return Checked(None, (*known, *shape, *_unrelated(meaning, (*known, *shape))))
    return Checked(config, (*known, *_unrelated(lint.faults(config), known)))


def _unrelated(findings: Iterable[Finding], known: Iterable[Finding]) -> Iterator[Finding]:
    """Those that would stand if the known ones were mended."""
    blamed = [path for finding in known for path in finding.about]
    return (finding for finding in findings if not any(_touch(finding, path) for path in blamed))


def _touch(finding: Finding, blamed: Path) -> bool:
    return any(path[: len(blamed)] == blamed or blamed[: len(path)] == path for path in finding.about)


@dataclass(frozen=True, slots=True)
class _Partial:
    """What is left of faulty values when the faults are cut out: enough to look for more."""

    config: Config
    routes: tuple[int, ...]
    """The index that each route had before."""

    @classmethod
    def of(cls, values: Any, findings: Iterable[Finding]) -> _Partial | None:
        """None: too little is left."""
        cut = frozenset(_unit_of(finding.about[0]) for finding in findings)
        rest = _without(cut, values, ())
        if not isinstance(rest, dict):
            return None
        rest["origin"] = {"url": _SOME_ORIGIN, **(rest.get("origin") or {})}
        try:
            config = Config.model_validate(rest)
        except ValidationError:
            return None
        routes = range(len(values.get("routes") or ()))
        return cls(config, tuple(index for index in routes if ("routes", index) not in cut))

    def faults(self) -> tuple[Finding, ...]:
        """What else is wrong, with the paths of the whole."""
        return tuple(
            finding._replace(about=tuple(map(self._as_before, finding.about)))
            for finding in lint.faults(self.config)
        )

    def _as_before(self, path: Path) -> Path:
        match path:
            case ("routes", int(index), *rest):
                return ("routes", self.routes[index], *rest)
            case _:
                return path


def _unit_of(path: Path) -> Path:
    """What has to go with the value at `path`: a route is nothing without its name and match."""
    match path:
        case ("routes", int(), "name" | "match"):
            return path[:2]
        case _:
            return path


def _without(cut: frozenset[Path], value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(cut, inner, (*path, key)) for key, inner in value.items() if (*path, key) not in cut
        }
    if isinstance(value, list):
        kept = [(index, item) for index, item in enumerate(value) if (*path, index) not in cut]
        return [_without(cut, item, (*path, index)) for index, item in kept]
    return value
