"""How long absences and failures are remembered: the value of `negative`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from proxy.config.scalars import DURATION_SCHEMA, Duration
from proxy.config.section import Section


def _status(first: int, last: int, alternative: str = "") -> PlainValidator:
    statuses = {str(status): status for status in range(first, last + 1)}

    def read(given: object) -> int:
        status = statuses.get(str(given))
        if status is None:
            raise ValueError(f"expected a status from {first} to {last}{alternative}")
        return status

    return PlainValidator(read)


ClientErrorStatus = Annotated[int, _status(400, 499, ", or errors"), WithJsonSchema({"type": "integer"})]
ServerErrorStatus = Annotated[int, _status(500, 599), WithJsonSchema({"type": "integer"})]


class Negative(Section):
    """How long absences and failures are remembered: statuses 4xx as keys, statuses 5xx under `errors`."""

    statuses: dict[ClientErrorStatus, Duration] = Field(default={})
    """Seconds for which an answer of this status (400 to 499) is remembered. Default: none is."""
    errors: dict[ServerErrorStatus, Duration] = Field(default={})
    """Seconds for which an answer of this status (500 to 599) is remembered, unless a usable good entry
    exists. Default: none is."""

    @model_validator(mode="before")
    @classmethod
    def _statuses_are_keys(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        statuses = {key: value for key, value in given.items() if key != "errors"}
        errors = given.get("errors")
        return {"statuses": statuses, "errors": {} if errors is None else errors}

    @model_serializer
    def _as_written(self) -> dict[int | str, Any]:
        statuses: dict[int | str, Any] = dict(self.statuses.items())
        return statuses | {"errors": self.errors}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        told = {key: field.description or "" for key, field in cls.model_fields.items()}
        errors = {
            "type": "object",
            "description": "Server errors, by status.",
            "patternProperties": {"^5[0-9]{2}$": {**DURATION_SCHEMA, "description": told["errors"]}},
            "additionalProperties": False,
        }
        schema["properties"] = {"errors": errors}
        schema["patternProperties"] = {"^4[0-9]{2}$": {**DURATION_SCHEMA, "description": told["statuses"]}}
        return schema
