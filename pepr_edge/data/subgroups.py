"""Columns of a table by whose values performance is reported: subgroups of the test images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pepr_edge.data.source import NO_COLUMNS, DataSettings, ImageSource, Indices
from pepr_edge.errors import DataError
from pepr_edge.records import MIN_CELL, GroupValues
from pepr_edge.untrusted.shown import is_plain, shown

# A column with more values names patients, say, and not groups.
MAX_GROUPS = 20
MAX_GROUP_CHARACTERS = 100


def check_groups(source: str, column: str, values: Sequence[str]) -> None:
    """Refuse a column whose values are no groups, such as the names of patients.

    Raises:
        DataError: it has too many different values, or one that is no short line.
    """
    distinct = set(values)
    if len(distinct) > MAX_GROUPS:
        raise DataError(
            f"{source}: column {shown(column)!r} has {len(distinct):,} different values, expected at most "
            f"{MAX_GROUPS} for subgroups. Give bands, such as 40-59 for an age; never names of patients."
        )
    for value in distinct:
        if not is_plain(value) or len(value) > MAX_GROUP_CHARACTERS:
            raise DataError(
                f"{source}: column {shown(column)!r} has the value {shown(value)!r}, expected one line of at "
                f"most {MAX_GROUP_CHARACTERS} characters. Shorten it."
            )


def check_format(source: ImageSource, settings: DataSettings) -> ImageSource:
    """Return a source that has the columns and subgroups of its settings.

    Raises:
        DataError: its format has no columns.
    """
    if settings.columns and source.columns == NO_COLUMNS:
        listed = ", ".join(f"{role} = {shown(name)!r}" for role, name in settings.columns.items())
        raise DataError(
            f"{source.name}: columns {listed}, but only a table (.csv) has columns. Give the table, or leave "
            "the columns out."
        )
    if settings.subgroups and not source.subgroups:
        listed = ", ".join(f'"{shown(name)}"' for name in settings.subgroups)
        raise DataError(
            f"{source.name}: data.subgroups = [{listed}], but only a table (.csv) has columns. Give one, or "
            "remove the line."
        )
    return source


def of_test(subgroups: Mapping[str, Sequence[str]], test: Indices) -> dict[str, GroupValues]:
    """Return the subgroups of the test images, by column.

    The names of groups that are too small to be shown are left out: a run directory may be passed on.

    Args:
        subgroups: the value of each image of the source, by column.
        test: the images of the test split.
    """
    made = {}
    for column, values in subgroups.items():
        of_images = [values[int(index)] for index in test]
        counts = Counter(of_images)
        distinct = sorted(counts)
        small = [name for name in distinct if counts[name] < MIN_CELL]
        names = [f"hidden {small.index(name) + 1}" if name in small else name for name in distinct]
        made[column] = GroupValues(
            names=tuple(names), test=tuple(distinct.index(value) for value in of_images)
        )
    return made
