"""`pepr-edge export`: export ranked bundles from a run."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import PathType, common, echo, print_json, say


@click.command("export")
@click.argument("run_dir", type=PathType())
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Number of models.")
@click.option(
    "--out",
    type=PathType(file_okay=False),
    help="Folder for the bundles; existing bundles in it are replaced. [default: bundles/<name of RUN_DIR>]",
)
@common
def command(run_dir: Path, top: int, out: Path | None, as_json: bool) -> None:
    """Export the best models of RUN_DIR as bundles: self-contained folders that need no PyTorch."""
    from pepr_edge.bundle.best import export_best

    exported = export_best(run_dir, out or Path("bundles") / run_dir.resolve().name, top)
    for warning in exported.warnings:
        say(f"warning: {warning}")
    if as_json:
        rows = [{"rank": row.rank, "bundle": str(path), "pepr": row.pepr} for row, path in exported.bundles]
        print_json({"bundles": rows})
        return
    for _, path in exported.bundles:
        echo(path)
