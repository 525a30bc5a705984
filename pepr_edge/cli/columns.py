"""The options --column, which names columns of a table, and --task, which says what a label is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from pepr_edge.untrusted.shown import shown

F = TypeVar("F", bound=Callable[..., Any])


def column_option(command: F) -> F:
    """Add --column. The command receives `column`, see `named_columns`."""
    return click.option(
        "--column",
        multiple=True,
        metavar="ROLE=NAME",
        help="The name of a table's column: path, label, split or group. Can be repeated.",
    )(command)


def task_option(command: F) -> F:
    """Add --task. The command receives `task`, a kind of task or "auto"."""
    return click.option(
        "--task",
        type=click.Choice(["auto", "multiclass", "binary", "ordinal", "multilabel"]),
        default="auto",
        show_default=True,
        help="What a label is: a class, a grade, or one of several findings; auto: as the data shows.",
    )(command)


def named_columns(values: Sequence[str]) -> dict[str, str]:
    """Return the names of columns by role.

    Raises:
        UsageError: one is not ROLE=NAME.
    """
    from pepr_edge.data.columns import ROLES

    named = {}
    for value in values:
        role, _, name = value.partition("=")
        if role not in ROLES or not name:
            roles = ", ".join(ROLES)
            raise click.UsageError(f"--column {shown(value)}: expected ROLE=NAME, ROLE one of {roles}.")
        named[role] = name
    return named
