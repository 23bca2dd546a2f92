"""pydantic's errors -> findings in our words: what was found, what was expected, did you mean.

The only module that knows how pydantic reports errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.config.faults import Finding, shown, suggestion
from proxy.config.nodes import Path
from proxy.config.schema import SECRET_FILES, Config
from proxy.config.section import Section, known_keys

_KEY_STEP = "[key]"
_CONSEQUENCES = frozenset({"default_factory_not_called"})
"""Errors that only say that there was another error."""


def findings(error: ValidationError, values: object) -> Iterator[Finding]:
    """One finding for each error of `values`; its place is the path in `values`."""
    for details in error.errors(include_url=False):
        if details["type"] in _CONSEQUENCES:
            continue
        path = _path_as_written(details["loc"], values)
        explain = _EXPLANATIONS.get(details["type"], _explain_other)
        blames_key = details["type"] == "extra_forbidden" or details["loc"][-1:] == (_KEY_STEP,)
        yield Finding(explain(details, path), (path,), blames_key)


def _path_as_written(steps: tuple[str | int, ...], values: object) -> Path:
    """Without the steps that only the models have, such as `statuses` in `negative: {404: 30s}`."""
    path: list[str | int] = []
    value = values
    for position, step in enumerate(steps):
        child = _child(value, step)
        is_last = position == len(steps) - 1
        if child is _ABSENT and (not is_last or step == _KEY_STEP):
            continue
        path.append(step)
        value = child
    return tuple(path)


_ABSENT = object()


def _child(value: object, step: str | int) -> object:
    if isinstance(value, Mapping):
        return value.get(step, _ABSENT)
    if isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value):
        return value[step]
    return _ABSENT


def _explain_unknown_key(details: ErrorDetails, path: Path) -> str:
    key = str(path[-1])
    section = _section_at(path[:-1])
    near = suggestion(key, known_keys(section)) if section else ""
    return f"unknown key{near or _elsewhere(key)}"


def _elsewhere(key: str) -> str:
    """A hint for a right key in the wrong section."""
    homes = [".".join(home) for home in _homes(Config, key)]
    return f"; did you mean {homes[0]}?" if len(homes) == 1 else ""


def _homes(section: type[Section], key: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in known_keys(section):
        inner = _section_at((name,), section)
        if name == key:
            yield (*above, name)
        if inner is not None:
            yield from _homes(inner, key, (*above, name))


def _section_at(path: Path, section: type[Section] = Config) -> type[Section] | None:
    """The section that `path` leads to, through sections and lists of them; None if it leads to a value."""
    current: Any = section
    for step in path:
        current = get_args(current)[0] if isinstance(step, int) else _annotation(current, step)
    return current if _is_section(current) else None


def _annotation(section: type[Section], key: str) -> Any:
    by_key = dict(zip(known_keys(section), section.model_fields.values(), strict=True))
    return by_key[key].annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _explain_missing(details: ErrorDetails, path: Path) -> str:
    return "missing, but required"


def _explain_value(details: ErrorDetails, path: Path) -> str:
    expected = details.get("ctx", {}).get("error", details["msg"])
    return f"{_found(details, path)}, {expected}"


def _explain_word(details: ErrorDetails, path: Path) -> str:
    expected = str(details.get("ctx", {}).get("expected", ""))
    words = re.findall(r"'([^']*)'", expected)
    near = suggestion(str(details["input"]), words)
    return f"{_found(details, path)}, expected {expected.replace(chr(39), '')}{near}"


def _explain_too_many(details: ErrorDetails, path: Path) -> str:
    limits = details.get("ctx", {})
    return f"found {limits.get('actual_length')} items, expected at most {limits.get('max_length')}"


def _explain_other(details: ErrorDetails, path: Path) -> str:
    return f"{_found(details, path)}: {details['msg']}"


def _expecting(expected: str) -> Callable[[ErrorDetails, Path], str]:
    def explain(details: ErrorDetails, path: Path) -> str:
        return f"{_found(details, path)}, expected {expected}"

    return explain


def _found(details: ErrorDetails, path: Path) -> str:
    return "found a value that is not shown" if path in SECRET_FILES else f"found {shown(details['input'])}"


_EXPLANATIONS: Mapping[str, Callable[[ErrorDetails, Path], str]] = {
    "extra_forbidden": _explain_unknown_key,
    "missing": _explain_missing,
    "value_error": _explain_value,
    "literal_error": _explain_word,
    "too_long": _explain_too_many,
    "too_short": _expecting("at least one"),
    "model_type": _expecting("a mapping"),
    "model_attributes_type": _expecting("a mapping"),
    "dict_type": _expecting("a mapping"),
    "tuple_type": _expecting("a list"),
    "frozen_set_type": _expecting("a list"),
    "string_type": _expecting("text"),
}
