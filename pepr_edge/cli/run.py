"""`pepr-edge run`: carry a recipe out."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from pepr_edge.cli.common import common, need_training, print_json, say
from pepr_edge.cli.view import TerminalView
from pepr_edge.errors import RecipeError, RunError
from pepr_edge.recipe import Recipe, find
from pepr_edge.records import Ranking
from pepr_edge.toml import parse


@click.command("run")
@click.argument("recipe")
@click.option("--data", help="A dataset instead of the recipe's: a MedMNIST name, an .npz, .pt or .csv file, or a folder.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run directory. [default: runs/<name of the recipe>]")
@click.option("--only", help="Only these architectures of the recipe, separated by commas.")
@click.option("--engine", type=click.Choice(["local"]), default="local", show_default=True, help="Where candidates run.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Candidates trained at once.")
@click.option("--fresh", is_flag=True, help="Do everything again, whatever is there.")
@common
def command(recipe: str, data: str | None, out: Path | None, only: str | None, engine: str, jobs: int, fresh: bool, as_json: bool) -> None:
    """Train, export, profile and rank the candidates of RECIPE (a file, or the name of a recipe that comes with pepr_edge).

    On an existing run directory it goes on where it stopped; of a finished run it prints the result again.
    """
    path = find(recipe)
    text = _read(path)
    wanted = _override(parse(text, Recipe, str(path)), path, data, only)
    out = out or Path("runs") / wanted.name
    need_training()
    from pepr_edge.pipeline import Options, run

    try:
        ranking = run(wanted, text, out, Options(jobs=jobs, fresh=fresh), TerminalView())
    except KeyboardInterrupt:
        say(f"{out}: what is done is kept; the same command goes on from there")
        raise
    if as_json:
        print_json(ranking.model_dump(mode="json"))
    else:
        show(ranking, out)
    if all(row.status == "failed" for row in ranking.rows):
        raise RunError(f"{out}: no candidate got through, for the reasons above. Mend them; the same command tries again.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe. `pepr-edge recipes list` shows those that come with pepr_edge.") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise RecipeError(f"{path}: cannot be read ({type(fault).__name__}), expected a recipe, a TOML text file.") from None


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
            hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(recipe.candidates.architectures)}."
            raise RecipeError(f"--only {name}: not a candidate of this recipe. {hint}")
    return changed.model_copy(update={"candidates": recipe.candidates.model_copy(update={"architectures": names})})


def show(ranking: Ranking, run_dir: Path) -> None:
    """The ranked table, the answer, and where things are."""
    from pepr_edge.report.terminal import conclusion, ranking_table
    from pepr_edge.report.words import learnt_nothing

    click.echo(ranking_table(ranking))
    click.echo()
    click.echo(conclusion(ranking))
    click.echo()
    click.echo(f"report       {run_dir / 'report.html'}")
    best = next((row.bundle for row in ranking.rows if row.bundle), None)
    if best is not None:
        # Of models that learnt nothing of use none is the best.
        click.echo(f"{'first' if learnt_nothing(ranking) else 'best'} bundle  {run_dir / best}")
