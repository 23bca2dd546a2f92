"""Writes docs/configuration.md from the models in proxy/config/.

`python scripts/config_reference.py` writes the page; a test fails when page and models differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from proxy.config.changes import LIVE  # noqa: E402 - a script finds the package beside it
from proxy.config.schema import Config  # noqa: E402 - the same

PAGE = ROOT / "docs" / "configuration.md"

_INTRODUCTION = """\
# Configuration

Written by `scripts/config_reference.py` from the models in `proxy/config/`; do not edit.

One YAML file holds everything; [`config.example.yaml`](../config.example.yaml) shows every key.
`sidecache check FILE` lists all its faults at once, each as `file:line:column: what was found, what was
expected`, and warns of what is legal but dangerous. `sidecache schema` prints a JSON Schema for editors.

* **Durations** are `250ms`, `10s`, `5m`, `1h`, `1d` or bare seconds; **sizes** are `64KiB`, `256MiB`, `1GiB`
  or bare bytes; **shares** are `20%`.
* Words are read as they stand: `off`, `no`, `010` and `1:30` are never turned into something else. Where a
  flag is wanted, `true`, `on`, `yes`, `false`, `off` and `no` are one.
* `${NAME}` and `${NAME:-default}` read the environment, also inside a longer value; an empty variable counts
  as none where there is a default; `$$` stands for `$`. A variable that is neither set nor has a default is a
  fault.
* A key without a value is as if it were absent.
* Anchors and aliases work; merge keys (`<<`), tags and further documents are faults.
* `admin.token_file`, `l2.url_file` and `secret_file` read a secret from a file, without its last newline; a
  relative name starts at the configuration's own folder.

**Reload.** The file and its secret files are read again when their content changes (looked at every 2 s), on
SIGHUP and on `POST /reload`. A faulty file changes nothing and is reported. What is marked *live* is applied
at once; anything else keeps its old value until the process is started again, and is reported, too.

**Inheritance.** A route has the value of `defaults` for each key that it does not give itself. A key that it
gives replaces the default's value whole, also where the value is a mapping.
"""

Schema = dict[str, Any]
Rows = list[tuple[str, Schema]]


def render() -> str:
    """The whole page."""
    schema = Config.model_json_schema()
    return "\n".join((_INTRODUCTION, *_sections(schema, schema, "")))


def _sections(root: Schema, section: Schema, path: str) -> Iterator[str]:
    """The section's table, then those of the sections within it."""
    rows = _rows(root, section, path)
    yield _table(root, section, rows, path)
    for key, schema in rows:
        inner = _mapping(root, schema)
        if inner is not None:
            yield from _sections(root, inner, f"{path}.{key}" if path else key)


def _rows(root: Schema, section: Schema, path: str) -> Rows:
    """The section's own keys; those that a route has in common with `defaults` are told there."""
    common = root["$defs"]["RoutePolicy"]["properties"] if path == "routes" else {}
    own = [(key, schema) for key, schema in section.get("properties", {}).items() if key not in common]
    by_status = section.get("patternProperties", {}).items()
    return [(f"{pattern[1]}xx", schema) for pattern, schema in by_status] + own


def _table(root: Schema, section: Schema, rows: Rows, path: str) -> str:
    lines = [f"## {path or 'The file'}{' (live)' if path in LIVE else ''}\n"]
    lines += [f"{_line(section['description'])}\n"] if path else []
    lines += ["| key | value | meaning |", "|---|---|---|"]
    for key, schema in rows:
        is_live = not path and key in LIVE
        meaning = _line(_meaning(root, schema)) + (" *Live.*" if is_live else "")
        lines.append(f"| `{key}` | {_kind(root, key, schema)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _meaning(root: Schema, schema: Schema) -> str:
    inner = _mapping(root, schema) or {}
    return str(schema.get("description") or inner.get("description", ""))


def _kind(root: Schema, key: str, schema: Schema) -> str:
    """What the value is, in a word or as the words that it may be."""
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if _mapping(root, schema) is not None:
        return "list of mappings" if schema.get("type") == "array" else "mapping"
    is_ours = "title" in schema and schema["title"] != key.replace("_", " ").title()
    if is_ours:
        return str(schema["title"]).replace("|", "\\|")
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice != {"type": "null"}]
    if choices[0].get("type") == "array":
        return f"list: {_kind(root, key, choices[0]['items'])}"
    return "text"


def _mapping(root: Schema, schema: Schema) -> Schema | None:
    """The section that a value, or each item of a list, is; None: it is none."""
    schema = schema.get("items", schema)
    if "$ref" not in schema:
        return schema if schema.get("type") == "object" else None
    section = root["$defs"][schema["$ref"].rpartition("/")[2]]
    by_keys = next((choice for choice in section.get("anyOf", ()) if "properties" in choice), section)
    return {**by_keys, "description": section["description"]}


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
