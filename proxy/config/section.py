"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A mapping of the YAML: immutable, with no key but the known ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, given: Any) -> Any:
        """A known key without a value (`ca_file:`) is as if it were absent."""
        if not isinstance(given, dict):
            return given
        known = known_keys(cls)
        return {key: value for key, value in given.items() if value is not None or key not in known}


def known_keys(section: type[BaseModel]) -> tuple[str, ...]:
    """The section's keys as they are written in the YAML, in order."""
    return tuple(field.alias or name for name, field in section.model_fields.items())
