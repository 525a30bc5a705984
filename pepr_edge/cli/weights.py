"""`pepr-edge weights`: fetch pretrained weights for use without a network, or convert a weights file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.common import (
    OutFileType,
    OutFolderType,
    PathType,
    common,
    echo,
    need_training,
    print_json,
    say,
)
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import ModelError
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.toml import read
from pepr_edge.text.tables import aligned_table
from pepr_edge.text.units import mib, plural

if TYPE_CHECKING:
    from pepr_edge.train.weights.converting import FetchedWeights

MATCHES = {
    "names": "by their names",
    "timm": "by timm's conversion (older names, or other sizes of a vision transformer)",
    "order": "by order and shape, as the names are not timm's: check the model on a known image",
}


@click.group("weights")
def command() -> None:
    """Fetch pretrained weights for use without a network, or convert a weights file."""


@command.command("fetch")
@click.argument("recipe")
@click.option(
    "--out",
    type=OutFolderType(),
    required=True,
    help="The folder to write, for candidates.weights_dir.",
)
@click.option("--force", is_flag=True, help="Also replace files of these names that pepr_edge did not write.")
@common
def fetch(recipe: str, out: Path, force: bool, as_json: bool) -> None:
    """Bring timm's weights of the architectures of RECIPE into a folder, as for a USB stick.

    They come from timm's cache on this machine, else from the Hugging Face hub. Weights that are in the
    folder stay. Exit status 1: some could not be had; the others are there.
    """
    need_training()
    from pepr_edge.recipe.checks import check_architectures
    from pepr_edge.train.weights.converting import fetch as fetch_weights

    settings = read(find(recipe), Recipe)
    check_architectures(settings)
    with TerminalView().bar("weights") as bar:
        rows = fetch_weights(settings.candidates.architectures, out, force, bar.update)
    if as_json:
        print_json({"weights": [asdict(row) for row in rows]})
    elif any(row.file for row in rows):
        table = [("architecture", "weights", "licence", "size", "status"), *map(_cells, rows)]
        echo("\n".join(aligned_table(table, "lllrl")))
    _raise_if_failed(rows, out)
    say(f'in a recipe, also on another machine: [candidates] weights_dir = "{out}"')


def _cells(row: FetchedWeights) -> tuple[str, ...]:
    size = "-" if row.size_bytes is None else mib(row.size_bytes)
    return (row.architecture, row.name or "-", row.licence or "-", size, row.status)


def _raise_if_failed(rows: list[FetchedWeights], out: Path) -> None:
    failed = [row for row in rows if row.status == "failed"]
    if not failed:
        return
    names = ", ".join(row.architecture for row in failed)
    raise ModelError(
        f"{out}: {len(failed)} of {plural(len(rows), 'architecture')} could not be fetched ({names}): "
        f"{failed[0].reason}. Run the same command where there is a network; what is there stays."
    )


@command.command("import")
@click.argument("file", type=PathType())
@click.option("--architecture", metavar="NAME", required=True, help="timm's name: see `pepr-edge zoo list`.")
@click.option(
    "--out",
    type=OutFileType(),
    required=True,
    help="The file to write: FILE.safetensors, for candidates.weights or a candidates.weights_dir.",
)
@click.option("--ema", is_flag=True, help="Take the averaged weights of a training checkpoint.")
@click.option("--force", is_flag=True, help="Also replace a file that pepr_edge did not write.")
@common
def import_(file: Path, architecture: str, out: Path, ema: bool, force: bool, as_json: bool) -> None:
    """Convert a weights FILE (PyTorch or safetensors) to timm's names, in float32.

    Prefixes and wrappers of training scripts are removed. Tensors with other names are assigned by order and
    shape, if these leave no doubt. No code in the file is run.
    """
    need_training()
    from pepr_edge.train.weights.converting import import_weights

    made = import_weights(file, architecture, out, averaged=ema, force=force)
    say(f"{made.tensors} tensors of {architecture}, assigned {MATCHES[made.matched]}")
    for note in made.notes:
        say(f"note: {note}")
    if as_json:
        print_json(asdict(made))
    else:
        echo(out)
