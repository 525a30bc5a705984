"""`pepr-edge report`: write the HTML report of a run."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import PathType, common, echo, need_training, print_json, read_trust, trust_option


@click.command("report")
@click.argument("run_dir", type=PathType())
# Takes the rest of --field A.json B.json, as a shell's * gives them.
@click.argument("more", nargs=-1, type=PathType(), metavar="")
@click.option(
    "--field",
    "reports",
    multiple=True,
    type=PathType(),
    help="Reports of `pepr-edge bench --out` or `evaluate --out`, one or more.",
)
@click.option(
    "--force", is_flag=True, help="Also replace files of the same names that pepr_edge did not write."
)
@trust_option("Accept only reports that one of these public keys signed (`bench --sign`).")
@common
def command(
    run_dir: Path,
    more: tuple[Path, ...],
    reports: tuple[Path, ...],
    force: bool,
    trust: Path | None,
    as_json: bool,
) -> None:
    """Write RUN_DIR/report.html again: a single file to read and to send.

    Its figures go to RUN_DIR/report/, as SVG and PNG, with their data as CSV. With --field the report shows
    the ranking by the measurements of field devices; without, the ranking of the run.
    """
    if more and not reports:
        raise click.UsageError(f"{more[0]}: one run directory at a time. Field reports come after --field.")
    if trust and not reports:
        raise click.UsageError("--trust is for the signatures of field reports: give --field, too.")
    from pepr_edge.run_dir.reader import load, read_ranking

    trusted = read_trust(trust)
    results = load(run_dir)
    ranking = read_ranking(run_dir)
    need_training()
    from pepr_edge.ranking import of_bench, rank, read_reports
    from pepr_edge.report.from_run import write_report
    from pepr_edge.run_dir.layout import FIGURES

    path = run_dir / "report.html"
    field = read_reports((*reports, *more), results, trusted)
    if field:
        ranking = rank(results, field=field)
    write_report(results, ranking, path, of_bench(field), force)
    if as_json:
        print_json({"report": str(path), "figures": str(run_dir / FIGURES)})
    else:
        echo(path)
