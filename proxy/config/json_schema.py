"""The JSON Schema by which editors complete and check the YAML.

Derived from the models, then widened to what the loader takes: `${NAME}` for any value, and keys
without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.config.schema import Config

_REFERENCE = {"$ref": "#/$defs/FromEnvironment"}
_FROM_ENVIRONMENT = {
    "title": "from the environment",
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\}",
}
_NULL = {"type": "null"}
_ANNOTATIONS = ("title", "description")


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) that takes what the loader takes, shape by shape."""
    schema: dict[str, Any] = _widened(Config.model_json_schema())
    schema["$defs"]["FromEnvironment"] = _FROM_ENVIRONMENT
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "sidecache"}


def _widened(schema: Any) -> Any:
    """The schema with every property's value widened, at all depths."""
    if isinstance(schema, list):
        return [_widened(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _widened_keyword(key, value, schema) for key, value in schema.items() if key != "default"}


def _widened_keyword(keyword: str, value: Any, schema: Mapping[str, Any]) -> Any:
    """Defaults are left out: they would stand in seconds and bytes; the descriptions say them with units."""
    match keyword:
        case "properties":
            required = schema.get("required", ())
            return {name: _value(inner, may_be_empty=name not in required) for name, inner in value.items()}
        case "patternProperties":
            return {name: _value(inner, may_be_empty=False) for name, inner in value.items()}
        case "items":
            return _value(value, may_be_empty=False)
        case _:
            return _widened(value)


def _value(schema: Mapping[str, Any], *, may_be_empty: bool) -> dict[str, Any]:
    widened = _widened(dict(schema))
    annotations = {key: widened.pop(key) for key in _ANNOTATIONS if key in widened}
    choices = widened["anyOf"] if widened.keys() == {"anyOf"} else [widened]
    written = [choice for choice in choices if choice != _NULL]
    from_environment = [_REFERENCE] if any(map(_is_scalar, written)) else []
    return {**annotations, "anyOf": [*written, *from_environment, *([_NULL] if may_be_empty else [])]}


def _is_scalar(schema: Mapping[str, Any]) -> bool:
    return "$ref" not in schema and schema.get("type") not in {"array", "object"}
