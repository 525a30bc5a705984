"""`pepr-edge export`: ranked bundles out of a run."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import common, print_json
from pepr_edge.errors import RunError
from pepr_edge.records import Ranking
from pepr_edge.store import read_record


@click.command("export")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the bundles; bundles that are there already are replaced. [default: bundles/<name of RUN_DIR>]",
)
@common
def command(run_dir: Path, top: int, out: Path | None, as_json: bool) -> None:
    """Hand over the best models of RUN_DIR as bundles: self-contained folders that need no PyTorch."""
    from pepr_edge.bundle.write import write_all
    from pepr_edge.results import load

    results = load(run_dir)
    out = out or Path("bundles") / run_dir.resolve().name
    ranking = read_record(run_dir / "ranking.json", Ranking)
    if not any(row.rank is not None for row in ranking.rows):
        raise RunError(f"{run_dir}: no model of this run has a rank, so there is nothing to export. `pepr-edge rank {run_dir}` says why.")
    ranking = write_all(results, ranking, out, top)
    made = [(row, out / Path(row.bundle).name) for row in ranking.rows if row.bundle]
    if as_json:
        print_json({"bundles": [{"rank": row.rank, "bundle": str(path), "pepr": row.pepr} for row, path in made]})
        return
    for _, path in made:
        click.echo(path)
