"""`pepr-edge init`: a first recipe from the images."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.data import DataSettings
from pepr_edge.errors import PeprError, RecipeError
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.init import (
    DatasetSummary,
    RunTimeEstimate,
    draft,
    estimate,
    summarise,
    summary_lines,
    text,
)
from pepr_edge.recipe.init.choose import DATA
from pepr_edge.recipe.toml import read
from pepr_edge.run_dir.store import write_text
from pepr_edge.untrusted.documents import shown


@click.command("init")
@click.argument("source", metavar="FOLDER|MANIFEST.csv|NPZ")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="recipe.toml",
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--device",
    default="clinic_laptop_2core",
    show_default=True,
    help="Whose recipe it starts from: `pepr-edge recipes list`.",
)
@click.option(
    "--time/--no-time",
    "timed",
    default=True,
    help="Take a few training steps to estimate the run's time, 20 s.  [default: time]",
)
@click.option("--force", is_flag=True, help="Write over an --out that is there.")
@common
def command(source: str, out: Path, device: str, timed: bool, force: bool, as_json: bool) -> None:
    """Look at images and write a first recipe for them, with a comment on each thing that was chosen.

    SOURCE is what `run --data` takes: a folder with a folder for each class, a CSV manifest, an .npz or .pt file, a MedMNIST name.
    """
    for name in (source, str(out)):
        if shown(name) != name:
            raise RecipeError(
                f"{shown(name)}: cannot stand in a recipe, expected a name in UTF-8 without control characters. Rename it."
            )
    if out.exists() and not force:
        raise RecipeError(
            f"{out}: is there already, and is not written over. Give another --out, or --force."
        )
    if not out.parent.is_dir():
        raise RecipeError(f"{out}: there is no folder {out.parent}. Make it first.")
    base = read(find(device), Recipe)
    settings = DATA.model_dump() | {"source": source}
    found = summarise(
        DataSettings(**settings, image_size_px=base.candidates.image_size_px[0], seed=base.seed)
    )
    for word, line in summary_lines(found):
        say(f"{word.lower():<8} {line}")
    if found.bad:  # not into the recipe, which travels: a file's name may be a patient's
        say(f"first    {found.bad[0]}")
    drafted = draft(found, source, out, base)
    expected = _expected(drafted.recipe, found) if timed else "not estimated (--no-time)"
    write_text(out, text(drafted, found, expected, source, base.name, out))
    if as_json:
        print_json(
            {
                "recipe": str(out),
                "data": asdict(found),
                "reasons": drafted.reasons,
                "expected": _numbers(expected),
            }
        )
    else:
        click.echo(out)
    say(f"read it, then: pepr-edge run {out}")


def _expected(recipe: Recipe, found: DatasetSummary) -> RunTimeEstimate | str:
    """How long a run will take, or why that is not known."""
    if importlib.util.find_spec("torch") is None:
        return "not estimated: PyTorch is not installed where this was drafted"
    say("a few training steps are timed ...")
    try:
        return estimate(recipe, found)
    except PeprError as fault:
        return f"not estimated: {fault}"


def _numbers(expected: RunTimeEstimate | str) -> dict[str, object]:
    if isinstance(expected, str):
        return {"total_s": None, "reason": expected}
    return {"total_s": expected.total_s, **asdict(expected)}
