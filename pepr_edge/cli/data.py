"""`pepr-edge data`: look at a dataset before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import click

from pepr_edge.cli.columns import column_option, named_columns, task_option
from pepr_edge.cli.common import OutFileType, common, echo, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.cli.run import with_source
from pepr_edge.data import DataSettings
from pepr_edge.data.check import has_more_copies, problem_lines, summary_lines
from pepr_edge.data.check.copies_csv import copies_csv, is_copies_csv
from pepr_edge.data.check.look import look
from pepr_edge.data.formats import SOURCES, expanded
from pepr_edge.errors import DataError, OutputError
from pepr_edge.recipe import Data, Recipe
from pepr_edge.recipe.resolve import data_settings, settings_of
from pepr_edge.recipe.settings import SIZES_PX
from pepr_edge.recipe.toml import read
from pepr_edge.records import DataCheck
from pepr_edge.run_dir.store import write_text
from pepr_edge.tasks import TaskKind
from pepr_edge.untrusted.shown import shown

# The images are compared as the model sees them. This size shows more than the smallest models see.
IMAGE_SIZE_PX = SIZES_PX[1]

CHECK_HELP = f"""Decode every image, and say what was understood and what looks wrong.

PATH: {SOURCES}; or a recipe, .toml, for the images and the settings of its [data].

Nothing is changed, and nothing leaves this machine. Exit status 1 if a problem would stop a run.
"""


@click.group("data")
def command() -> None:
    """Look at a dataset before anything is trained."""


@command.command("check", help=CHECK_HELP)
@click.argument("path")
@column_option
@task_option
@click.option(
    "--copies",
    type=OutFileType(),
    help="Write all sets of copies, near copies and turned copies to this .csv file.",
)
@common
def check(
    path: str,
    column: tuple[str, ...],
    task: TaskKind | Literal["auto"],
    copies: Path | None,
    as_json: bool,
) -> None:
    """Look at the images, print what was understood, and the problems."""
    settings = _settings(expanded(path), named_columns(column))
    if copies is not None:
        _check_copies(copies)
    if task != "auto":
        settings = replace(settings, kind=task)
    with TerminalView().bar("images") as bar:
        checked = look(settings, bar.update)
    if copies is not None:
        _check_copies(copies)
        write_text(copies, copies_csv(checked))
    if as_json:
        print_json(checked.model_dump(mode="json"))
    else:
        _show(checked)
        if copies is None and has_more_copies(checked):
            say("The option --copies FILE.csv lists all images of each set.")
    if checked.errors:
        raise DataError(
            f"{checked.name}: {len(checked.errors)} problems would stop a run, see above."
            if len(checked.errors) > 1
            else f"{checked.name}: {checked.errors[0].remedy}"
        )


def _settings(path: str, columns: dict[str, str]) -> DataSettings:
    if path.lower().endswith(".toml"):
        recipe = with_source(read(Path(path), Recipe), Path(path), None)
        settings = data_settings(recipe, IMAGE_SIZE_PX)
        return replace(settings, columns=settings.columns | columns)
    return settings_of(Data().model_copy(update={"source": path, "columns": columns}), IMAGE_SIZE_PX)


def _check_copies(out: Path) -> None:
    """Refuse to replace a file that is no earlier list of copies."""
    if (out.exists() or out.is_symlink()) and not is_copies_csv(out):
        raise OutputError(f"{shown(str(out))}: exists, and is no earlier list. Give another --copies.")


def _show(checked: DataCheck) -> None:
    lines = [checked.name]
    if checked.labels:
        lines += summary_lines(checked)
    lines += problem_lines(checked.problems) or ["no problems found"]
    echo("\n".join(lines))
