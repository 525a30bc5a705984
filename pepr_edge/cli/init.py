"""`pepr-edge init`: draft a first recipe from the images."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import click

from pepr_edge.cli.columns import column_option, named_columns, task_option
from pepr_edge.cli.common import OutFileType, common, echo, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.data import DatasetSummary, DataSettings, summarise
from pepr_edge.data.check import has_more_copies, problem_lines, refuse_errors
from pepr_edge.data.check.look import look
from pepr_edge.data.formats import SOURCES, expanded
from pepr_edge.errors import PeprError, RecipeError
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.init import (
    RunTimeEstimate,
    draft,
    estimate,
    summary_lines,
    text,
)
from pepr_edge.recipe.init.choose import DATA
from pepr_edge.recipe.resolve import settings_of
from pepr_edge.recipe.settings import SIZES_PX, ResolvedRecipe
from pepr_edge.recipe.toml import read
from pepr_edge.records import DataCheck
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_text
from pepr_edge.tasks import TaskKind
from pepr_edge.untrusted.paths import exists
from pepr_edge.untrusted.shown import is_plain, shown

HELP = f"""Draft a first recipe for images, with a comment on each choice.

SOURCE: {SOURCES}.
"""


@click.command("init", help=HELP)
@click.argument("source")
@click.option(
    "--out",
    type=OutFileType(),
    default="recipe.toml",
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--device",
    default="clinic_laptop_2core",
    show_default=True,
    help="The recipe to take the device from: see `pepr-edge recipes list`.",
)
@click.option(
    "--time/--no-time",
    "timed",
    default=True,
    help="Estimate the duration of the run from a few training steps, about 20 s.  [default: time]",
)
@click.option("--force", is_flag=True, help="Overwrite an existing --out.")
@column_option
@task_option
@common
def command(
    source: str,
    out: Path,
    device: str,
    timed: bool,
    force: bool,
    column: tuple[str, ...],
    task: TaskKind | Literal["auto"],
    as_json: bool,
) -> None:
    """Check the paths, read the images, and write the recipe."""
    _check_paths(source, out, force)
    base = read(find(device), Recipe)
    source = expanded(source)
    columns = named_columns(column)
    given = DATA.model_copy(update={"source": source, "columns": columns})
    data = replace(settings_of(given, SIZES_PX[0], seed=base.seed), kind=task)
    summary = summarise(data)
    for heading, line in summary_lines(summary):
        if heading != "Note":  # the problems below say the same
            say(f"{heading.lower():<8} {line}")
    checked = _look(replace(data, on_bad_image="skip"))
    if summary.bad:  # on the terminal only, since a recipe is shared: a file's name may be a patient's
        say(f"first    {summary.bad[0]}")
    unreadable = sum(problem.count for problem in checked.problems if problem.kind == "unreadable_images")
    drafted = draft(summary, source, out, base, columns, unreadable)
    run_time = _run_time(drafted.resolved, summary) if timed else "not estimated (--no-time)"
    _check_out(source, out, force)  # again: the estimate takes its time
    content = text(drafted, summary, run_time, source, base.name, out)
    write_text(out, content, exclusive=not force)
    if as_json:
        document = {"recipe": str(out), "data": asdict(summary), "reasons": drafted.reasons}
        problems = [problem.model_dump(mode="json") for problem in checked.problems]
        print_json(document | {"problems": problems, "expected": _run_time_json(run_time)})
    else:
        echo(out)
    say(f"check the recipe, then run: pepr-edge run {out}")


def _look(settings: DataSettings) -> DataCheck:
    """Decode all images, and show what looks wrong with them.

    Raises:
        DataError: a problem would stop a run.
    """
    with TerminalView().bar("images") as bar:
        checked = look(replace(settings, image_size_px=SIZES_PX[1]), bar.update)
    refuse_errors(checked)
    for line in problem_lines(checked.problems):
        say(line)
    if has_more_copies(checked):
        say("pepr-edge data check with --copies FILE.csv lists all images of each set.")
    return checked


def _check_paths(source: str, out: Path, force: bool) -> None:
    for name in (source, str(out)):
        if not is_plain(name):
            raise RecipeError(
                f"{shown(name)}: cannot be written into a recipe, expected a name in UTF-8 without control "
                "characters. Rename it."
            )
    _check_out(source, out, force)
    if not out.parent.is_dir():
        raise RecipeError(f"{out}: there is no folder {out.parent}. Create it first.")


def _check_out(source: str, out: Path, force: bool) -> None:
    if out.exists() and exists(source) and out.samefile(source):
        raise RecipeError(f"{out}: is the source of the images. Give another --out.")
    if (out.exists() or out.is_symlink()) and not force:
        raise RecipeError(f"{out}: already exists. Give another --out, or --force to overwrite it.")
    check_replaceable(out, force=force)


def _run_time(recipe: ResolvedRecipe, summary: DatasetSummary) -> RunTimeEstimate | str:
    """Return the estimated duration of a run, or why there is no estimate."""
    if importlib.util.find_spec("torch") is None:
        return "not estimated: PyTorch is not installed where this was drafted"
    say("timing a few training steps ...")
    try:
        return estimate(recipe, summary)
    except PeprError as error:
        return f"not estimated: {error}"


def _run_time_json(run_time: RunTimeEstimate | str) -> dict[str, object]:
    if isinstance(run_time, str):
        return {"total_s": None, "reason": run_time}
    return {"total_s": run_time.total_s} | asdict(run_time)
