"""`pepr-edge recipes`: the recipes that come with pepr_edge."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click

from pepr_edge.cli.common import OutFileType, common, echo, print_json, refuse_root, say
from pepr_edge.cli.run import with_source
from pepr_edge.errors import DataError, RecipeError
from pepr_edge.recipe import Recipe, find, recipes_dir
from pepr_edge.recipe.checks import file_errors, unknown_architectures, unsupported_sizes
from pepr_edge.recipe.resolve import settings_from_images
from pepr_edge.recipe.schema import SCHEMA
from pepr_edge.recipe.schema import schema as json_schema
from pepr_edge.recipe.settings import auto_keys, settings_line
from pepr_edge.recipe.toml import parse, read, read_text
from pepr_edge.records import RunSettings
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_text
from pepr_edge.text.tables import aligned_table
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import RECORD_BYTES, content
from pepr_edge.untrusted.paths import exists


@dataclass(frozen=True)
class Checked:
    """The faults of a recipe, and the settings that its images give; None if they are not known."""

    faults: list[str]
    settings: RunSettings | None = None


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
        budgets = recipe.budgets
        limits = (budgets.latency_p90_ms, budgets.peak_memory_mib, budgets.size_mib)
        latency, memory, size = (f"{limit:g}" if limit else "-" for limit in limits)
        threads = str(recipe.device.threads)
        rows.append((name, str(recipe.candidates.count), threads, latency, memory, size, recipe.device.name))
    echo("\n".join(aligned_table(rows, "lrrrrrl")))
    say("memory, file: the limit for a model, MiB. For details: pepr-edge recipes show NAME")


@command.command("show")
@click.argument("name")
@common
def show(name: str, as_json: bool) -> None:
    """Print a recipe as it is written."""
    path = find(name)
    text = read_text(path)
    recipe = parse(text, Recipe, str(path))  # only recipes are shown, not any file
    if as_json:
        print_json(recipe.model_dump(mode="json"))
    else:
        echo(text, nl=False)


@command.command("copy")
@click.argument("name")
@click.option(
    "--out",
    type=OutFileType(dir_okay=True),
    help="The file to write, or its folder. [default: NAME.toml in the current folder]",
)
@common
def copy(name: str, out: Path | None, as_json: bool) -> None:
    """Copy a recipe, to adapt it."""
    path = find(name)
    target = out or Path(path.name)
    if target.is_dir():
        refuse_root(target)
        target = target / path.name
    if not target.parent.is_dir():
        raise RecipeError(f"{target}: there is no folder {target.parent}. Create it first.")
    text = read_text(path)
    parse(text, Recipe, str(path))
    try:
        write_text(target, text, exclusive=True)
    except FileExistsError:
        raise RecipeError(f"{target}: already exists. Give another --out.") from None
    if as_json:
        print_json({"recipe": str(target)})
    else:
        echo(target)
    if not (target.parent / SCHEMA).exists():
        say(f"for editors that complete keys, in the same folder: pepr-edge recipes schema --out {SCHEMA}")


@command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.option("--data", help='Show the settings that these images give, where the recipe says "auto".')
@common
def check(names: tuple[str, ...], data: str | None, as_json: bool) -> None:
    """Check recipes (files or names; default: all that come with pepr_edge) and report all faults at once.

    It checks keys and values, the architectures with their image sizes, the variants, the country and the
    weights file. For settings that are "auto" it shows what the images give, if they are on this machine.
    """
    paths = [find(name) for name in names] or _shipped()
    checked = {path: _checked(path, data) for path in paths}
    if as_json:
        print_json({"recipes": [_row(path, result) for path, result in checked.items()]})
    else:
        for path, result in checked.items():
            echo(f"{path.stem}: {'faulty' if result.faults else 'ok'}")
            if result.settings is not None:
                echo(f"{path.stem}: {settings_line(result.settings)}")
    faults = list(chain.from_iterable(result.faults for result in checked.values()))
    if faults:
        raise RecipeError("\n".join(faults))


@command.command("schema")
@click.option(
    "--out",
    type=OutFileType(),
    help="Write the schema to this file.",
)
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
        echo(out)


def _is_schema(path: Path) -> bool:
    return bool(json_document(content(path, RECORD_BYTES)) == json_schema())


def _shipped() -> list[Path]:
    return sorted(recipes_dir().glob("*.toml"))


def _faults(path: Path, recipe: Recipe) -> list[str]:
    """Return one line per fault of the names in a recipe."""
    lines = [*_unknown(recipe), *unsupported_sizes(recipe)]
    for file_error in file_errors(recipe):
        lines += str(file_error).splitlines()
    return [f"{path}: {line}" for line in lines]


def _checked(path: Path, data: str | None) -> Checked:
    try:
        recipe = read(path, Recipe)
    except RecipeError as error:
        return Checked(str(error).splitlines())
    try:
        located = with_source(recipe, path, data)
        faults = _faults(path, located)
        return Checked(faults) if faults else Checked([], _settings(path, located, data))
    except (DataError, RecipeError) as error:
        return Checked([f"{path}: {error}"])


def _row(path: Path, result: Checked) -> dict[str, Any]:
    settings = None if result.settings is None else result.settings.model_dump(mode="json")
    return {
        "recipe": path.stem,
        "passed": not result.faults,
        "faults": result.faults,
        "settings": settings,
    }


def _settings(path: Path, recipe: Recipe, data: str | None) -> RunSettings | None:
    """Return the settings that the images give; None if none are "auto", or the images are not here."""
    if data is None and recipe.data.source != "phantom" and not exists(recipe.data.source):
        keys = auto_keys(recipe)
        if keys:
            say(f"{path.stem}: the images set {', '.join(keys)}; --data PATH shows how")
        return None
    return settings_from_images(recipe)


def _unknown(recipe: Recipe) -> list[str]:
    try:
        return unknown_architectures(recipe)
    except ImportError:
        say("note: timm is not installed, so only names of `pepr-edge zoo list` are checked")
        return []
