"""`pepr-edge compare`: two runs, or two sets of published results."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import common, need_training, print_json


@click.command("compare")
@click.argument("a", metavar="RUN_A")
@click.argument("b", metavar="RUN_B")
@click.option(
    "--performance", "metric", help="The test performance to compare by. [default: that of both recipes]"
)
@click.option("--variant", help="The ONNX files to compare. [default: fp32]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("comparison"),
    show_default=True,
    help="Folder to write to.",
)
@click.option(
    "--force", is_flag=True, help="Replace files of these names that are not of an earlier comparison, too."
)
@common
def command(
    a: str, b: str, metric: str | None, variant: str | None, out: Path, force: bool, as_json: bool
) -> None:
    """Did it pay? Compare the architectures that RUN_A and RUN_B have in common: pretraining, more data, large models.

    Each is the directory of a run, or a set of a table like the paper's results, TABLE.csv:SET. Tested are performance on the test split
    and every PePR, by paired and independent t-tests and by Wilcoxon's, and plots are drawn.
    """
    need_training()
    from pepr_edge import compare

    both = compare.read(a, b, metric, variant)
    pairs = compare.pair(both)
    done = compare.write(compare.compare(both, pairs), both, pairs, out, force)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    click.echo(compare.text(done))
    click.echo()
    click.echo(f"figures, every test and every row  {out}")
