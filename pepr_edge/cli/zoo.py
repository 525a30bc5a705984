"""`pepr-edge zoo`: the architectures, and whether each goes the whole way here."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.common import common, need_training, print_json, say, show_bars
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import InvalidMeasurement
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_text
from pepr_edge.zoo import Architecture, architectures

if TYPE_CHECKING:
    from pepr_edge.zoo.check.row import CheckRow
    from pepr_edge.zoo.check.sweep import SweepProgress

MISSING = "-"


@click.group("zoo")
def command() -> None:
    """The architectures that are known to work."""


@command.command("list")
@click.option("--max-params", type=float, help="At most this many parameters, in millions.")
@click.option(
    "--family",
    type=click.Choice(["CNN", "Other"], case_sensitive=False),
    help="CNN, or Other (attention, mixers, searched).",
)
@click.option("--efficient", is_flag=True, help="Only those that the paper calls efficient.")
@click.option(
    "--image-size-px",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only those that accept images of N x N px.",
)
@common
def list_(
    max_params: float | None, family: str | None, efficient: bool, image_size_px: int | None, as_json: bool
) -> None:
    """The 131 architectures of the PePR paper, fewest parameters first. Any other timm model can be used too, untested."""
    rows = [
        row
        for row in architectures().values()
        if (max_params is None or row.num_params <= max_params * 1e6)
        and (family is None or row.family.lower() == family.lower())
        and (row.efficient or not efficient)
        and (image_size_px is None or row.accepts(image_size_px))
    ]
    if as_json:
        print_json({"architectures": [dataclasses.asdict(row) for row in rows]})
        return
    click.echo(
        f"{'architecture':<28} {'params':>8}  {'family':<6} {'efficient':<9} {'native size':<13} takes"
    )
    for row in rows:
        size = f"{row.native_size_px} px{', fixed' if row.fixed_size else ''}"
        efficient_ = "yes" if row.efficient else "no"
        click.echo(
            f"{row.name:<28} {row.num_params / 1e6:>6.1f} M  {row.family:<6} {efficient_:<9} {size:<13} {row.sizes}"
        )
    _say_quirks(rows)


def _say_quirks(rows: list[Architecture]) -> None:
    """Why some do not take any size; on stderr, as the table is for programs too."""
    quirks: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.quirk:
            quirks.setdefault((row.sizes, row.quirk), []).append(row.name)
    for (sizes, quirk), names in quirks.items():
        say(f"{sizes}: {', '.join(names)}: {quirk}")
    if any(row.fixed_size for row in rows):
        say("fixed: built for the size that is asked for; weights trained at one size do not serve another")


@command.command("check")
@click.option(
    "--only", metavar="ARCH,...", help="These instead of all 131; also any other name that timm knows."
)
@click.option(
    "--image-size-px",
    type=click.IntRange(min=16),
    metavar="N",
    help="[default: 64, or the next size that each one takes]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep rows here. [default: pepr_edge/zoo_check in the cache]",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the table as a page, too.",
)
@click.option("--force", is_flag=True, help="Replace a --markdown file that is no such page, too.")
@common
def check(
    only: str | None,
    image_size_px: int | None,
    out: Path | None,
    markdown: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Create, train a step, export, quantise and run each architecture.

    Half an hour for all on two cores. Rows that went well are kept and not made again; Ctrl-C loses only the one at work. Exit status 3:
    one failed.
    """
    need_training()
    from pepr_edge.zoo.check.sweep import default_folder, sweep

    names = (
        list(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
        if only is not None
        else list(architectures())
    )
    if not names:
        raise click.UsageError("--only names no architecture, expected names with commas between them.")
    if markdown is not None:
        check_replaceable(markdown, _is_page, force)
    view = TerminalView()
    with view.bar("zoo") as bar:

        def show(progress: SweepProgress) -> None:
            bar.to(progress.number, progress.total, f"{progress.architecture} {progress.stage}")
            row = progress.row
            if row is not None and (row.status == "failed" or not show_bars()):
                view.say(f"[{progress.number}/{progress.total}] {_line(row)}{' (kept)' * progress.kept}")

        rows = sweep(names, image_size_px, out or default_folder(), show)
    _report(rows, markdown, as_json)
    if failed := [
        f"FAILED {row.architecture}: {row.stage}: {row.reason}" for row in rows if row.status == "failed"
    ]:
        raise InvalidMeasurement("\n".join(failed))


def _is_page(path: Path) -> bool:
    return path.read_text(encoding="utf-8").startswith("# The zoo\n\nMade by `pepr-edge zoo check")


def _report(rows: list[CheckRow], markdown: Path | None, as_json: bool) -> None:
    if markdown is not None:
        from pepr_edge.zoo.check.markdown import page

        write_text(markdown, page(rows, shlex.join(["pepr-edge", *sys.argv[1:]])))
    if as_json:
        print_json({"rows": [row.model_dump(mode="json") for row in rows]})
        return
    click.echo(
        f"{'architecture':<28} {'px':>4} {'exporter':<11} {'int8 decides':>12} {'fp32 ms':>8} {'int8 ms':>8}  status"
    )
    for row in rows:
        agree = MISSING if row.decisions_agree is None else f"{row.decisions_agree:.0%}"
        start = f"{row.architecture:<28} {row.image_size_px or MISSING:>4} {row.exporter or MISSING:<11} {agree:>12}"
        click.echo(f"{start} {_ms(row.fp32_latency_s):>8} {_ms(row.int8_latency_s):>8}  {row.status}")
    click.echo(f"{sum(row.status == 'ok' for row in rows)} of {len(rows)} went the whole way")


def _ms(latency_s: float | None) -> str:
    return MISSING if latency_s is None else f"{latency_s * 1e3:.2f}"


def _line(row: CheckRow) -> str:
    """One architecture on one line."""
    if row.status == "failed":
        return f"{row.architecture}@{row.image_size_px or '?'}: FAILED at {row.stage}: {row.reason}"
    return (
        f"{row.architecture}@{row.image_size_px}: ok, by {row.exporter}, {_ms(row.fp32_latency_s)} ms, int8 {_ms(row.int8_latency_s)} ms"
        f"{f'; {row.note}' if not row.in_zoo else ''}"
    )
