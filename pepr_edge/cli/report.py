"""`pepr-edge report`: the HTML report of a run."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import common, need_training, print_json


@click.command("report")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument(
    "more", nargs=-1, type=click.Path(path_type=Path), metavar=""
)  # --field A.json B.json, as a shell's * gives them
@click.option(
    "--field",
    "reports",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Reports of `pepr-edge bench --out`, one or more.",
)
@click.option("--force", is_flag=True, help="Replace files of these names that pepr_edge did not write, too.")
@common
def command(
    run_dir: Path, more: tuple[Path, ...], reports: tuple[Path, ...], force: bool, as_json: bool
) -> None:
    """Write RUN_DIR/report.html again: one file, to look at and to mail.

    Its figures go to RUN_DIR/report/, as SVG and PNG, with the data of each as CSV. With --field it is of the ranking by what devices in
    the field measured; without, of the ranking at home again.
    """
    if more and not reports:
        raise click.UsageError(f"{more[0]}: one run directory at a time. Field reports come after --field.")
    from pepr_edge.run_dir.reader import load, read_ranking

    results = load(run_dir)
    ranking = read_ranking(run_dir)
    need_training()
    from pepr_edge.ranking import rank, read_reports
    from pepr_edge.report.from_run import write_report
    from pepr_edge.run_dir.layout import FIGURES

    path = run_dir / "report.html"
    field = read_reports((*reports, *more), results)
    write_report(results, rank(results, field=field) if field else ranking, path, field, force)
    if as_json:
        print_json({"report": str(path), "figures": str(run_dir / FIGURES)})
    else:
        click.echo(path)
