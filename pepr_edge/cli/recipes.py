"""`pepr-edge recipes`: the recipes that come with pepr_edge."""

from __future__ import annotations

import json
import shutil
from itertools import chain
from pathlib import Path

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe, find, recipes_dir
from pepr_edge.recipe.checks import file_errors, unknown_architectures, unsupported_sizes
from pepr_edge.recipe.schema import SCHEMA
from pepr_edge.recipe.schema import schema as json_schema
from pepr_edge.recipe.toml import read
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_text
from pepr_edge.text.tables import aligned_table
from pepr_edge.untrusted.documents import RECORD_BYTES, content, json_document


@click.group("recipes")
def command() -> None:
    """List, show, copy or check the recipes for target devices."""


@command.command("list")
@common
def list_(as_json: bool) -> None:
    """List the recipes that come with pepr_edge."""
    recipes = [(path.stem, read(path, Recipe)) for path in _shipped()]
    if as_json:
        shown = {"description", "device", "budgets"}
        documents = [
            {"name": name} | recipe.model_dump(mode="json", include=shown) for name, recipe in recipes
        ]
        print_json({"recipes": documents})
        return
    rows = [("recipe", "models", "threads", "p90 ms", "memory", "file", "device")]
    for name, recipe in recipes:
        models = len(recipe.candidates.architectures) * len(recipe.candidates.image_size_px)
        budgets = recipe.budgets
        limits = (budgets.latency_p90_ms, budgets.peak_memory_mib, budgets.size_mib)
        latency, memory, size = (f"{limit:g}" if limit else "-" for limit in limits)
        threads = str(recipe.device.threads)
        rows.append((name, str(models), threads, latency, memory, size, recipe.device.name))
    click.echo("\n".join(aligned_table(rows, "lrrrrrl")))
    say("memory, file: the limit for a model, MiB. For details: pepr-edge recipes show NAME")


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
    help="The file to write, or its folder. [default: NAME.toml in the current folder]",
)
@common
def copy(name: str, out: Path | None, as_json: bool) -> None:
    """Copy a recipe, to adapt it."""
    path = find(name)
    target = out or Path(path.name)
    if target.is_dir():
        target = target / path.name
    if target.exists():
        raise RecipeError(f"{target}: already exists. Give another --out.")
    if not target.parent.is_dir():
        raise RecipeError(f"{target}: there is no folder {target.parent}. Create it first.")
    shutil.copyfile(path, target)
    if as_json:
        print_json({"recipe": str(target)})
    else:
        click.echo(target)
    if not (target.parent / SCHEMA).exists():
        say(f"for editors that complete keys, in the same folder: pepr-edge recipes schema --out {SCHEMA}")


@command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@common
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Check recipes (files or names; default: all that come with pepr_edge) and report all faults at once.

    It checks keys and values, the architectures with their image sizes, the variants, the country and the
    weights file.
    """
    paths = [find(name) for name in names] or _shipped()
    faults = {path: _faults(path) for path in paths}
    if as_json:
        rows = [{"recipe": path.stem, "passed": not lines, "faults": lines} for path, lines in faults.items()]
        print_json({"recipes": rows})
    else:
        for path, lines in faults.items():
            click.echo(f"{path.stem}: {'faulty' if lines else 'ok'}")
    all_faults = list(chain.from_iterable(faults.values()))
    if all_faults:
        raise RecipeError("\n".join(all_faults))


@command.command("schema")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the schema to this file.")
@click.option("--force", is_flag=True, help="Also replace a file that is not such a schema.")
@common
def schema(out: Path | None, force: bool, as_json: bool) -> None:
    """Print the JSON Schema of a recipe, with which editors complete and check keys."""
    if out is None:
        print_json(json_schema())
        return
    check_replaceable(out, _is_schema, force)
    write_text(out, json.dumps(json_schema(), indent=1) + "\n")
    if as_json:
        print_json({"schema": str(out)})
    else:
        click.echo(out)


def _is_schema(path: Path) -> bool:
    return bool(json_document(content(path, RECORD_BYTES)) == json_schema())


def _shipped() -> list[Path]:
    return sorted(recipes_dir().glob("*.toml"))


def _faults(path: Path) -> list[str]:
    """Return one line per fault of a recipe, found from its file and the names in it."""
    try:
        recipe = read(path, Recipe)
    except RecipeError as error:
        return str(error).splitlines()
    lines = [*_unknown(recipe), *unsupported_sizes(recipe)]
    for file_error in file_errors(recipe):
        lines += str(file_error).splitlines()
    return [f"{path}: {line}" for line in lines]


def _unknown(recipe: Recipe) -> list[str]:
    try:
        return unknown_architectures(recipe)
    except ImportError:
        say("note: timm is not installed, so only names of `pepr-edge zoo list` are checked")
        return []
