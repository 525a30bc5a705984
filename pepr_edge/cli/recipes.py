"""`pepr-edge recipes`: the recipes that come with pepr_edge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe, find, recipes_dir
from pepr_edge.recipe.checks import faulty_files, unfit_sizes, unknown_architectures
from pepr_edge.recipe.schema import SCHEMA
from pepr_edge.recipe.schema import schema as json_schema
from pepr_edge.recipe.toml import read
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_text
from pepr_edge.untrusted.documents import RECORD_BYTES, content, json_document


@click.group("recipes")
def command() -> None:
    """The recipes for target devices: list, show, copy, check."""


@command.command("list")
@common
def list_(as_json: bool) -> None:
    """A table of the recipes that come with pepr_edge."""
    recipes = [(path.stem, read(path, Recipe)) for path in _shipped()]
    if as_json:
        print_json(
            {
                "recipes": [
                    {
                        "name": name,
                        **recipe.model_dump(mode="json", include={"description", "device", "budgets"}),
                    }
                    for name, recipe in recipes
                ]
            }
        )
        return
    click.echo(f"{'recipe':<30} {'models':>6} {'threads':>7} {'p90 ms':>6} {'memory':>6} {'file':>5}  device")
    for name, recipe in recipes:
        budgets = recipe.budgets
        limits = [
            f"{value:g}" if value else "-"
            for value in (budgets.latency_p90_ms, budgets.peak_memory_mib, budgets.size_mib)
        ]
        count = len(recipe.candidates.architectures) * len(recipe.candidates.image_size_px)
        threads, device = recipe.device.threads, recipe.device.name
        click.echo(
            f"{name:<30} {count:>6} {threads:>7} {limits[0]:>6} {limits[1]:>6} {limits[2]:>5}  {device}"
        )
    say("memory, file: the most that a model may take, MiB. For whom: pepr-edge recipes show NAME")


@command.command("show")
@click.argument("name")
@common
def show(name: str, as_json: bool) -> None:
    """Print a recipe as it is written."""
    path = find(name)
    if as_json:
        print_json(read(path, Recipe).model_dump(mode="json"))
    else:
        click.echo(path.read_text(encoding="utf-8"), nl=False)


@command.command("copy")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write, or its folder. [default: NAME.toml, here]",
)
@common
def copy(name: str, out: Path | None, as_json: bool) -> None:
    """Copy a recipe, to make it one's own."""
    path = find(name)
    target = out or Path(path.name)
    if target.is_dir():
        target = target / path.name
    if target.exists():
        raise RecipeError(f"{target}: is there already, and is not written over. Give another --out.")
    if not target.parent.is_dir():
        raise RecipeError(f"{target}: there is no folder {target.parent}. Make it first.")
    shutil.copyfile(path, target)
    print_json({"recipe": str(target)}) if as_json else click.echo(target)
    if not (target.parent / SCHEMA).exists():
        say(f"for an editor that completes the keys: pepr-edge recipes schema --out {SCHEMA}, beside it")


@command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@common
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Check recipes (files or names; none: all that come with pepr_edge), with all faults at once.

    Beside keys and values these are the architectures with their sizes, the variants, the country and the weights file.
    """
    rows = [(path, _faults(path)) for path in ([find(name) for name in names] or _shipped())]
    if as_json:
        print_json(
            {
                "recipes": [
                    {"recipe": path.stem, "passed": not faults, "faults": faults} for path, faults in rows
                ]
            }
        )
    else:
        for path, faults in rows:
            click.echo(f"{path.stem}: {'faulty' if faults else 'ok'}")
    if lines := [line for _, faults in rows for line in faults]:
        raise RecipeError("\n".join(lines))


@command.command("schema")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.")
@click.option("--force", is_flag=True, help="Replace a file that is no such schema, too.")
@common
def schema(out: Path | None, force: bool, as_json: bool) -> None:
    """Print the JSON Schema of a recipe, by which editors complete and check its keys."""
    if out is None:
        print_json(json_schema())
        return
    check_replaceable(out, _is_schema, force)
    write_text(out, json.dumps(json_schema(), indent=1) + "\n")
    print_json({"schema": str(out)}) if as_json else click.echo(out)


def _is_schema(path: Path) -> bool:
    document = json_document(content(path, RECORD_BYTES))
    return isinstance(document, dict) and document.get("title") == json_schema()["title"]


def _shipped() -> list[Path]:
    return sorted(recipes_dir().glob("*.toml"))


def _faults(path: Path) -> list[str]:
    """All that is wrong with a recipe, as far as its file and its names tell; a line each."""
    try:
        recipe = read(path, Recipe)
    except RecipeError as fault:
        return str(fault).splitlines()
    faults = [
        *_unknown(recipe),
        *unfit_sizes(recipe),
        *(line for fault in faulty_files(recipe) for line in str(fault).splitlines()),
    ]
    return [f"{path}: {line}" for line in faults]


def _unknown(recipe: Recipe) -> list[str]:
    try:
        return unknown_architectures(recipe)
    except ImportError:
        say("note: names beyond `pepr-edge zoo list` are not checked here, as timm is not installed")
        return []
