"""Configurations for tests: from dicts, and from YAML text with its faults as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from proxy.config.loading import Faults, Loaded, load_text
from proxy.config.schema import Config

ORIGIN = {"url": "http://127.0.0.1:8000"}


def config(**sections: Any) -> Config:
    """A configuration with an origin and the given sections."""
    return Config.model_validate({"origin": ORIGIN, **sections})


def route(**policy: Any) -> dict[str, Any]:
    """A route for /x with the given keys."""
    return {"name": "x", "match": {"path": "/x"}, **policy}


def read(text: str, *, environ: Mapping[str, str] | None = None, directory: Path = Path()) -> Loaded | Faults:
    """What the loader makes of `text`, which may be indented."""
    return load_text(dedent(text), name="x.yaml", environ=environ or {}, directory=directory)


def loaded(text: str, **given: Any) -> Config:
    """The configuration in `text`, which has no faults."""
    result = read(text, **given)
    assert isinstance(result, Loaded), str(result)
    return result.config


def faults_of(text: str, **given: Any) -> list[str]:
    """The faults in `text`, as they are printed."""
    result = read(text, **given)
    return [str(fault) for fault in result.faults] if isinstance(result, Faults) else []


def warnings_of(text: str, **given: Any) -> list[str]:
    """The warnings about `text`, which has no faults."""
    result = read(text, **given)
    assert isinstance(result, Loaded), str(result)
    return [str(warning) for warning in result.warnings]
