"""`pepr-edge run`: carry a recipe out."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import click

from pepr_edge.cli.common import common, need_training, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import RecipeError, RunError
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.toml import parse, text_of, why
from pepr_edge.records import Ranking


@click.command("run")
@click.argument("recipe")
@click.option(
    "--data",
    help="A dataset instead of the recipe's: a MedMNIST name, an .npz, .pt or .csv file, or a folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run directory. [default: runs/<name of the recipe>]",
)
@click.option("--only", help="Only these architectures of the recipe, separated by commas.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where candidates run: here, or on a cluster.",
)
@click.option(
    "--address",
    help="The Ray cluster, HOST:PORT, or auto for the one that this machine is in. [default: this machine alone]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Candidates trained at once. [default: 1; with Ray as many as the cluster has room for]",
)
@click.option("--fresh", is_flag=True, help="Do everything again, whatever is there.")
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
    """Train, export, profile and rank the candidates of RECIPE (a file, or the name of a recipe that comes with pepr_edge).

    On an existing run directory it goes on where it stopped; of a finished run it prints the result again.
    """
    if address is not None and engine != "ray":
        raise click.UsageError("--address is of a Ray cluster: give --engine ray with it.")
    path = find(recipe)
    text = _read(path)
    wanted = _override(parse(text, Recipe, str(path)), path, data, only)
    out = out or Path("runs") / wanted.name
    need_training()
    view = TerminalView()
    with view.bar("starting"):  # the libraries take seconds to load
        from pepr_edge.pipeline import Options, run

    try:
        ranking = run(wanted, text, out, Options(jobs, fresh, engine, address), view)
    except KeyboardInterrupt:
        say(f"{out}: what is done is kept; the same command goes on from there")
        raise
    if as_json:
        print_json(ranking.model_dump(mode="json"))
    else:
        show(ranking, out)
    if all(row.status == "failed" for row in ranking.rows):
        raise RunError(
            f"{out}: no candidate got through, for the reasons above. Mend them; the same command tries again."
        )


def _read(path: Path) -> str:
    try:
        return text_of(path)
    except FileNotFoundError:
        raise RecipeError(
            f"{path}: no such recipe. `pepr-edge recipes list` shows those that come with pepr_edge."
        ) from None
    except (OSError, UnicodeDecodeError) as fault:
        raise RecipeError(
            f"{path}: cannot be read ({why(fault)}), expected a recipe, a TOML text file."
        ) from None


def _override(recipe: Recipe, path: Path, data: str | None, only: str | None) -> Recipe:
    """The recipe with what the command line says instead. A path in the recipe is relative to where we are, or to the recipe."""
    source = data or recipe.data.source
    if data is None and not Path(source).exists() and (path.parent / source).exists():
        source = str(path.parent / source)
    changed = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})
    if only is None:
        return changed
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    for name in names or ("",):
        if name not in recipe.candidates.architectures:
            near = difflib.get_close_matches(name, recipe.candidates.architectures, n=1)
            hint = (
                f"Did you mean {near[0]!r}?"
                if near
                else f"It has {', '.join(recipe.candidates.architectures)}."
            )
            raise RecipeError(f"--only {name}: not a candidate of this recipe. {hint}")
    return changed.model_copy(
        update={"candidates": recipe.candidates.model_copy(update={"architectures": names})}
    )


def show(ranking: Ranking, run_dir: Path) -> None:
    """The ranked table, the answer, and where things are."""
    from pepr_edge.report.terminal import conclusion, ranking_table
    from pepr_edge.text.sentences import learnt_nothing

    click.echo(ranking_table(ranking))
    click.echo()
    click.echo(conclusion(ranking))
    click.echo()
    if failed := sorted({row.candidate for row in ranking.rows if row.status == "failed"}):
        count = len({row.candidate for row in ranking.rows})
        click.echo(
            f"{len(failed)} of {count} candidates failed in whole or in part: see above, and log.txt in their folders."
        )
        click.echo("The same command tries them again.")
        click.echo()
    click.echo(f"report       {run_dir / 'report.html'}")
    best = next((row.bundle for row in ranking.rows if row.bundle), None)
    if best is not None:
        # Of models that learnt nothing of use none is the best.
        click.echo(f"{'first' if learnt_nothing(ranking) else 'best'} bundle  {run_dir / best}")
