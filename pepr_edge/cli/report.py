"""`pepr-edge report`: the HTML report of a run."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import common, need_training, print_json


@click.command("report")
@click.argument("run_dir", type=click.Path(path_type=Path))
@common
def command(run_dir: Path, as_json: bool) -> None:
    """Write RUN_DIR/report.html again: one file, to look at and to mail."""
    from pepr_edge.results import load, read_ranking

    results = load(run_dir)
    ranking = read_ranking(run_dir)
    need_training()
    from pepr_edge.pipeline import report

    path = run_dir / "report.html"
    report(results, ranking, path)
    if as_json:
        print_json({"report": str(path)})
    else:
        click.echo(path)
