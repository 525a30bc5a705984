"""`pepr-edge export`: export ranked bundles from a run."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import (
    OutFolderType,
    PathType,
    common,
    echo,
    print_json,
    read_signer,
    say,
    sign_option,
)


@click.command("export")
@click.argument("run_dir", type=PathType())
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Number of models.")
@click.option(
    "--out",
    type=OutFolderType(),
    help="Folder for the bundles; existing bundles in it are replaced. [default: bundles/<name of RUN_DIR>]",
)
@sign_option("Sign each bundle with this private key, of `pepr-edge keys make`.")
@common
def command(run_dir: Path, top: int, out: Path | None, sign: Path | None, as_json: bool) -> None:
    """Export the best models of RUN_DIR as bundles: self-contained folders that need no PyTorch."""
    from pepr_edge.bundle.best import export_best

    signer = read_signer(sign)
    exported = export_best(run_dir, out or Path("bundles") / run_dir.resolve().name, top, signer)
    for warning in exported.warnings:
        say(f"warning: {warning}")
    if as_json:
        rows = [{"rank": row.rank, "bundle": str(path), "pepr": row.pepr} for row, path in exported.bundles]
        print_json({"bundles": rows, "signed_by": None if signer is None else signer.public.fingerprint})
        return
    for _, path in exported.bundles:
        echo(path)
    if signer is not None:
        say(f"signed with {signer.public.fingerprint}")
