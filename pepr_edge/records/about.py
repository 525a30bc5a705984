"""What the makers of a model say of it: the `[about]` of a recipe, as it goes into the manifest."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pepr_edge.records.base import Record
from pepr_edge.untrusted.shown import is_plain

# A paragraph, and a name. A page for print holds all paragraphs only if each is short.
TEXT_CHARACTERS = 600
NAME_CHARACTERS = 200
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def one_line(value: str) -> str:
    """Return a text if it is one line of characters that can be shown."""
    if not value.strip() or not is_plain(value):
        raise PydanticCustomError("expected", "a text on one line that is not empty")
    return value


def iso_date(value: str) -> str:
    """Return the text of a date, such as 2027-01-31, if it is one."""
    try:
        if not ISO_DATE.fullmatch(value):
            raise ValueError
        date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("expected", 'a date in quotes, such as "2027-01-31"') from None
    return value


_Text = Annotated[str, Field(max_length=TEXT_CHARACTERS), AfterValidator(one_line)]
_Name = Annotated[str, Field(max_length=NAME_CHARACTERS), AfterValidator(one_line)]


class About(Record):
    """Intended use, data and contact, in the words of the makers; pepr_edge checks none of it.

    Each text is one line. None: not said.
    """

    intended_use: _Text | None = None
    population: _Text | None = None
    setting: _Text | None = None
    do_not_use_when: _Text | None = None
    reference_standard: _Text | None = None
    acquisition: _Text | None = None
    inclusion: _Text | None = None
    licence: _Name | None = None
    contact: _Name | None = None
    version: _Name | None = None
    review_date: Annotated[str, AfterValidator(iso_date)] | None = None

    def said(self) -> dict[str, str]:
        """Return the texts that there are, by key."""
        return {name: value for name, value in self if value is not None}


# Each key -> its title for people.
ABOUT_TITLES = {
    "intended_use": "intended use",
    "population": "population",
    "setting": "setting",
    "do_not_use_when": "do not use when",
    "reference_standard": "reference standard",
    "acquisition": "acquisition",
    "inclusion": "inclusion",
    "licence": "licence",
    "contact": "contact",
    "version": "version",
    "review_date": "review date",
}
