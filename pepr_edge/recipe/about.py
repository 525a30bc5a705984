"""The table [about] of a recipe: what its makers say of the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pepr_edge.recipe.toml import Section
from pepr_edge.records import NAME_CHARACTERS, TEXT_CHARACTERS, About, iso_date


def _one_line(value: str) -> str:
    """Join the lines of a text. TOML has texts of several lines; the manifest has one line."""
    text = " ".join(value.split())
    if not text:
        raise PydanticCustomError("expected", "a text that is not empty")
    return text


Text = Annotated[str, Field(max_length=TEXT_CHARACTERS), AfterValidator(_one_line)]
ShortText = Annotated[str, Field(max_length=NAME_CHARACTERS), AfterValidator(_one_line)]
Date = Annotated[str, Field(json_schema_extra={"format": "date"}), AfterValidator(iso_date)]


class AboutSettings(Section):
    """What only people know of a model. No stage depends on it; it goes into manifest, card and report."""

    intended_use: Text | None = None
    population: Text | None = None
    setting: Text | None = None
    do_not_use_when: Text | None = None
    reference_standard: Text | None = None
    acquisition: Text | None = None
    inclusion: Text | None = None
    licence: ShortText | None = None
    contact: ShortText | None = None
    version: ShortText | None = None
    review_date: Date | None = None

    def record(self) -> About | None:
        """Return what goes into the manifest; None if the recipe says nothing."""
        said = self.model_dump(exclude_none=True)
        return About(**said) if said else None
