"""`pepr-edge recipes`: the recipes that come with pepr_edge."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from pepr_edge.cli.common import common, print_json
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe, find, recipes_dir
from pepr_edge.toml import read


@click.group("recipes")
def command() -> None:
    """List, show, copy or check the recipes for target devices."""


@command.command("list")
@common
def list_(as_json: bool) -> None:
    """A table of the recipes that come with pepr_edge."""
    recipes = [(path.stem, read(path, Recipe)) for path in sorted(recipes_dir().glob("*.toml"))]
    if as_json:
        print_json(
            {
                "recipes": [
                    {"name": name, **recipe.model_dump(mode="json", include={"description", "device", "budgets"})}
                    for name, recipe in recipes
                ]
            }
        )
        return
    click.echo(f"{'recipe':<30} {'models':>6} {'threads':>7} {'p90 ms':>7} {'MiB':>6} {'file MiB':>8}  device")
    for name, recipe in recipes:
        budgets = recipe.budgets
        limits = [f"{value:g}" if value else "-" for value in (budgets.latency_p90_ms, budgets.peak_memory_mib, budgets.size_mib)]
        count = len(recipe.candidates.architectures) * len(recipe.candidates.image_size_px)
        line = f"{name:<30} {count:>6} {recipe.device.threads:>7} {limits[0]:>7} {limits[1]:>6} {limits[2]:>8}  {recipe.device.name}"
        click.echo(line)


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
@click.argument("target", type=click.Path(path_type=Path), required=False)
@common
def copy(name: str, target: Path | None, as_json: bool) -> None:
    """Copy a recipe here (or to TARGET), to make it one's own."""
    path = find(name)
    target = target or Path(path.name)
    if target.is_dir():
        target = target / path.name
    if target.exists():
        raise RecipeError(f"{target}: is there already, and is not written over. Give another name.")
    if not target.parent.is_dir():
        raise RecipeError(f"{target}: there is no folder {target.parent}. Make it first.")
    shutil.copyfile(path, target)
    print_json({"recipe": str(target)}) if as_json else click.echo(target)


@command.command("check")
@click.argument("names", nargs=-1)
@common
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Check recipes (files or names; none: all that come with pepr_edge), with all faults at once."""
    paths = [find(name) for name in names] or sorted(recipes_dir().glob("*.toml"))
    rows, faults = [], []
    for path in paths:
        try:
            read(path, Recipe)
            rows.append({"recipe": path.stem, "passed": True, "faults": []})
        except RecipeError as fault:
            faults.append(str(fault))
            rows.append({"recipe": path.stem, "passed": False, "faults": str(fault).splitlines()})
    if as_json:
        print_json({"recipes": rows})
    else:
        for row in rows:
            click.echo(f"{row['recipe']}: {'ok' if row['passed'] else 'faulty'}")
    if faults:
        raise RecipeError("\n".join(faults))
