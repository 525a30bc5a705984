"""`pepr-edge compare`: compare two runs, or two sets of published results."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import OutFolderType, common, echo, need_training, print_json


@click.command("compare")
@click.argument("a", metavar="RUN_A")
@click.argument("b", metavar="RUN_B")
@click.option(
    "--performance", "metric", help="The test metric to compare. [default: the metric of both recipes]"
)
@click.option("--variant", help="The ONNX files to compare. [default: fp32]")
@click.option(
    "--out",
    type=OutFolderType(),
    default=Path("comparison"),
    show_default=True,
    help="Folder to write to.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Also replace files of the same names that are not from an earlier comparison.",
)
@common
def command(
    a: str, b: str, metric: str | None, variant: str | None, out: Path, force: bool, as_json: bool
) -> None:
    """Compare two runs: do pretraining, more data or large models pay off?

    RUN_A and RUN_B are run directories, or sets of a table like the paper's results, TABLE.csv:SET. Their
    common architectures are compared by test performance and by each PePR, with paired and independent
    t-tests and Wilcoxon tests, and plotted. With one architecture in common, its seeds are compared by test
    performance.
    """
    need_training()
    from pepr_edge import compare

    inputs = compare.read(a, b, metric, variant)
    pairs = compare.pair(inputs)
    done = compare.write(compare.compare(inputs, pairs), inputs, pairs, out, force)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    echo(compare.text(done))
    echo()
    echo(f"figures, every test and every row  {out}")
