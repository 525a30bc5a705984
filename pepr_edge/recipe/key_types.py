"""The types of keys in a recipe that several tables share: numbers with bounds, names, and sizes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pepr_edge.recipe.auto import Auto, OrAuto
from pepr_edge.untrusted.documents import name_fault

Positive = Annotated[float, Field(gt=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
SizePx = Annotated[int, Field(ge=16, le=1024)]
BatchSize = Annotated[int, Field(ge=2)]
AtLeastOneOrAuto = Annotated[int | Auto, OrAuto(AtLeastOne, "an integer")]


def _without_duplicates(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(value))


def _file_name(value: str) -> str:
    fault = name_fault(value)
    if fault:
        raise PydanticCustomError("expected", "{fault}", {"fault": fault})
    return value


# Becomes the name of a file or a folder.
Name = Annotated[str, AfterValidator(_file_name)]
Names = Annotated[tuple[Name, ...], Field(strict=False, min_length=1), AfterValidator(_without_duplicates)]


ColumnName = Annotated[str, Field(min_length=1, max_length=100)]
# Columns of a table; few, as each is a table of its own in the report.
Subgroups = Annotated[
    tuple[ColumnName, ...], Field(strict=False, max_length=10), AfterValidator(_without_duplicates)
]


FindingNames = Annotated[
    tuple[ColumnName, ...], Field(strict=False, max_length=1000), AfterValidator(_without_duplicates)
]


def _sizes(value: Any) -> Any:
    """Accept a single size without brackets."""
    return (value,) if isinstance(value, int) else value


Sizes = Annotated[
    tuple[SizePx, ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_sizes),
    AfterValidator(_without_duplicates),
]
