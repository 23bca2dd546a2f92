"""Puts the JSON Schema of the sidecar's YAML into the library chart's values.schema.json.

`python scripts/chart_schema.py` writes `definitions.config` there; the rest of the file is written by hand.
A test fails when the two differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from proxy.config.json_schema import json_schema  # noqa: E402 - a script finds the package beside it

FILE = ROOT / "charts" / "sidecache-lib" / "values.schema.json"


def render() -> str:
    """The whole file, with the schema in force in its place."""
    values: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    values["definitions"]["config"] = policies_schema()
    return json.dumps(values, indent=2) + "\n"


def policies_schema() -> dict[str, Any]:
    """What a chart's user may write: all keys, but none is required, since the chart writes some itself."""
    schema: dict[str, Any] = _moved(json_schema())
    for section in (schema, schema["$defs"]["Origin"]):
        del section["required"]
    # Helm 3 takes a schema for draft 7 in all its versions, and this one uses nothing that is newer.
    del schema["$schema"]
    return schema


def _moved(schema: Any) -> Any:
    """The schema as it stands inside another one: references start at the root."""
    if isinstance(schema, list):
        return [_moved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"#/definitions/config/{value.removeprefix('#/')}" if key == "$ref" else _moved(value)
        for key, value in schema.items()
    }


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
