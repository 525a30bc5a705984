"""Keys of a recipe that may be "auto": the run sets them when it begins."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

Auto = Literal["auto"]
AUTO: Auto = "auto"


class OrAuto:
    """Marks a type that also takes "auto".

    A union of both types would report two faults for a wrong value, one for each type.
    """

    def __init__(self, kind: Any, expected: str) -> None:
        """Take the type of all other values, and its name in messages."""
        self._kind = kind
        self._expected = expected

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Return pydantic's schema: that of the other values, around which "auto" passes."""
        schema = handler.generate_schema(self._kind)
        serialised = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(self._validate, schema, serialization=serialised)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the JSON Schema of both."""
        return {"anyOf": [handler(schema), {"const": AUTO, "type": "string"}]}

    def _validate(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, str) and value != AUTO:
            raise PydanticCustomError("expected", '{kind} or "auto"', {"kind": self._expected})
        return AUTO if value == AUTO else handler(value)
