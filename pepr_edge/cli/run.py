"""`pepr-edge run`: run a recipe."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import click

from pepr_edge.cli.common import OutFolderType, common, echo, need_training, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.data.formats import SOURCES, expanded
from pepr_edge.errors import RecipeError, RunError
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.toml import parse, read_text
from pepr_edge.records import Ranking
from pepr_edge.untrusted.paths import exists


@click.command("run")
@click.argument("recipe")
@click.option(
    "--data",
    help=f"Use these images instead: {SOURCES}.",
)
@click.option(
    "--out",
    type=OutFolderType(),
    help="Run directory. [default: runs/<name of the recipe>]",
)
@click.option("--only", help="Use only these architectures of the recipe, separated by commas.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where candidates run: on this machine, or on a Ray cluster.",
)
@click.option(
    "--address",
    help="The Ray cluster, HOST:PORT, or auto for the cluster of this machine. [default: this machine alone]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Number of candidates to train at once. [default: 1; with Ray as many as fit on the cluster]",
)
@click.option("--fresh", is_flag=True, help="Do everything again; do not use existing results.")
@common
def command(
    recipe: str,
    data: str | None,
    out: Path | None,
    only: str | None,
    engine: Literal["local", "ray"],
    address: str | None,
    jobs: int | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Train, export, profile and rank the candidates of RECIPE (a file, or the name of a shipped recipe).

    In an existing run directory the run continues where it stopped; a finished run prints its result again.
    """
    if address is not None and engine != "ray":
        raise click.UsageError("--address names a Ray cluster: also give --engine ray.")
    path = find(recipe)
    text = read_text(path)
    settings = _override(parse(text, Recipe, str(path)), path, data, only)
    out = out or Path("runs") / settings.name
    need_training()
    view = TerminalView()
    with view.bar("starting"):  # the libraries take seconds to load
        from pepr_edge.pipeline import Options, run

    try:
        ranking = run(settings, text, out, Options(jobs, fresh, engine, address), view)
    except KeyboardInterrupt:
        say(f"{out}: finished work is kept; the same command continues from here")
        raise
    if as_json:
        print_json(ranking.model_dump(mode="json"))
    else:
        show(ranking, out)
    if all(row.status == "failed" for row in ranking.rows):
        raise RunError(
            f"{out}: all candidates failed, for the reasons above. "
            "Fix the causes; the same command tries again."
        )


def _override(recipe: Recipe, path: Path, data: str | None, only: str | None) -> Recipe:
    """Return the recipe with the options of the command line."""
    recipe = with_source(recipe, path, data)
    if only is None:
        return recipe
    candidates = recipe.candidates.model_copy(update={"architectures": _selected(recipe, only)})
    return recipe.model_copy(update={"candidates": candidates})


def with_source(recipe: Recipe, path: Path, data: str | None) -> Recipe:
    """Return the recipe with the data of the command line, else with its own, and with the paths of weights.

    A path in the recipe is relative to the current folder, or to the recipe.
    """
    source = expanded(data) if data else _found(expanded(recipe.data.source), path)
    candidates = recipe.candidates
    paths = {}
    if candidates.weights_file is not None:
        paths["weights"] = _found(candidates.weights_file, path)
    if candidates.weights_dir is not None:
        paths["weights_dir"] = _found(candidates.weights_dir, path)
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"source": source}),
            "candidates": candidates.model_copy(update=paths),
        }
    )


def _found(name: str, recipe: Path) -> str:
    """Return a path of a recipe: beside the recipe if it is there and not in the current folder."""
    beside = recipe.parent / name
    return str(beside) if not exists(name) and exists(beside) else name


def _selected(recipe: Recipe, only: str) -> tuple[str, ...]:
    known = recipe.candidates.architectures
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    for name in names or ("",):
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {similar[0]!r}?" if similar else f"Its candidates: {', '.join(known)}."
            raise RecipeError(f"--only {name}: not a candidate of this recipe. {hint}")
    return names


def show(ranking: Ranking, run_dir: Path) -> None:
    """Print the ranking, the answer, and the paths of the results."""
    from pepr_edge.report.terminal import conclusion, ranking_table, subgroups_table

    echo(ranking_table(ranking))
    echo()
    by_subgroup = subgroups_table(ranking)
    if by_subgroup:
        echo(f"{by_subgroup}\n")
    echo(conclusion(ranking))
    echo()
    failed = {row.candidate for row in ranking.rows if row.status == "failed"}
    if failed:
        count = len({row.candidate for row in ranking.rows})
        echo(f"{len(failed)} of {count} candidates failed at least partly: see above and their log.txt.")
        echo("The same command tries them again.")
        echo()
    echo(f"report       {run_dir / 'report.html'}")
    bundle = next((row.bundle for row in ranking.rows if row.bundle), None)
    if bundle is not None:
        echo(f"best bundle  {run_dir / bundle}")
