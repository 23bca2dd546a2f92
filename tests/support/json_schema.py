"""What editors do with a JSON Schema (2020-12), as far as our own schema needs it.

An unknown keyword is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_ANNOTATIONS = frozenset({"$schema", "$defs", "title", "description"})


def violations(schema: dict[str, Any], value: Any) -> list[str]:
    """What of `value` the schema does not allow, each with its path."""
    return list(_violations(schema, schema, value, "$"))


def _violations(root: dict[str, Any], schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    for keyword, rule in schema.items():
        if keyword not in _ANNOTATIONS:
            yield from _CHECKS[keyword](root, schema, rule, value, path)


def _ref(root: Any, _schema: Any, rule: str, value: Any, path: str) -> Iterator[str]:
    yield from _violations(root, root["$defs"][rule.removeprefix("#/$defs/")], value, path)


def _any_of(root: Any, _schema: Any, rule: list[Any], value: Any, path: str) -> Iterator[str]:
    tried = [list(_violations(root, choice, value, path)) for choice in rule]
    if all(tried):
        yield f"{path}: fits no choice: {sorted(min(tried, key=len))}"


def _type(_root: Any, _schema: Any, rule: str, value: Any, path: str) -> Iterator[str]:
    is_flag = isinstance(value, bool)
    if not isinstance(value, _TYPES[rule]) or (is_flag and rule != "boolean"):
        yield f"{path}: {value!r} is no {rule}"


def _properties(root: Any, _schema: Any, rule: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    for key in rule.keys() & (value.keys() if isinstance(value, dict) else ()):
        yield from _violations(root, rule[key], value[key], f"{path}.{key}")


def _pattern_properties(
    root: Any, _schema: Any, rule: dict[str, Any], value: Any, path: str
) -> Iterator[str]:
    for key, inner in (value if isinstance(value, dict) else {}).items():
        for pattern in (pattern for pattern in rule if re.search(pattern, key)):
            yield from _violations(root, rule[pattern], inner, f"{path}.{key}")


def _additional(_root: Any, schema: Any, rule: bool, value: Any, path: str) -> Iterator[str]:
    assert rule is False
    for key in value if isinstance(value, dict) else ():
        is_known = key in schema.get("properties", {})
        if not is_known and not any(
            re.search(pattern, key) for pattern in schema.get("patternProperties", {})
        ):
            yield f"{path}.{key}: unknown"


def _required(_root: Any, _schema: Any, rule: list[str], value: Any, path: str) -> Iterator[str]:
    for key in rule:
        if isinstance(value, dict) and key not in value:
            yield f"{path}.{key}: missing"


def _items(root: Any, _schema: Any, rule: Any, value: Any, path: str) -> Iterator[str]:
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from _violations(root, rule, item, f"{path}[{index}]")


def _pattern(_root: Any, _schema: Any, rule: str, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str) and not re.search(rule, value):
        yield f"{path}: {value!r} does not match {rule}"


def _enum(_root: Any, _schema: Any, rule: list[Any], value: Any, path: str) -> Iterator[str]:
    if value not in rule:
        yield f"{path}: {value!r} is none of {rule}"


def _const(_root: Any, _schema: Any, rule: Any, value: Any, path: str) -> Iterator[str]:
    if value != rule or isinstance(value, bool):
        yield f"{path}: {value!r} is not {rule!r}"


def _minimum(_root: Any, _schema: Any, rule: float, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, int | float) and value < rule:
        yield f"{path}: {value} is less than {rule}"


def _length(is_too: str) -> Any:
    def check(_root: Any, _schema: Any, rule: int, value: Any, path: str) -> Iterator[str]:
        size = len(value) if isinstance(value, list) else rule
        if (size > rule) if is_too == "long" else (size < rule):
            yield f"{path}: too {is_too}"

    return check


def _unique(_root: Any, _schema: Any, rule: bool, value: Any, path: str) -> Iterator[str]:
    if rule and isinstance(value, list) and len(value) != len({repr(item) for item in value}):
        yield f"{path}: repeats itself"


_CHECKS: dict[str, Any] = {
    "$ref": _ref,
    "anyOf": _any_of,
    "type": _type,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "pattern": _pattern,
    "enum": _enum,
    "const": _const,
    "minimum": _minimum,
    "maxItems": _length("long"),
    "minItems": _length("short"),
    "uniqueItems": _unique,
}


class _Core(yaml.SafeLoader):
    """YAML 1.2 as editors read it: only true and false are flags."""


_Core.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def as_editors_read(text: str) -> Any:
    """The YAML text as JSON values."""
    return _with_text_keys(yaml.load(text, Loader=_Core))  # noqa: S506 - a subclass of the safe loader


def _with_text_keys(value: Any) -> Any:
    """JSON has no other keys. `true` and `false` are put back, which the class above left as text."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_text_keys(item) for item in value]
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
