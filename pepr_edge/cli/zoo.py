"""`pepr-edge zoo`: list the architectures, and check that each works here."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.common import (
    FiniteType,
    OutFileType,
    OutFolderType,
    common,
    echo,
    need_training,
    print_json,
    say,
    show_bars,
)
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import InvalidMeasurement
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_text
from pepr_edge.text.tables import aligned_table
from pepr_edge.text.units import percent
from pepr_edge.zoo import Architecture, architectures

if TYPE_CHECKING:
    from pepr_edge.zoo.check.row import CheckRow
    from pepr_edge.zoo.check.sweep import SweepProgress

MISSING = "-"


@click.group("zoo")
def command() -> None:
    """List or check the tested architectures."""


@command.command("list")
@click.option("--max-params", type=FiniteType(), help="Max number of parameters, in millions.")
@click.option(
    "--family",
    type=click.Choice(["CNN", "Other"], case_sensitive=False),
    help="CNN, or Other (attention, mixers, searched).",
)
@click.option("--efficient", is_flag=True, help="Only architectures that the paper calls efficient.")
@click.option(
    "--image-size-px",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only architectures that accept images of N x N px.",
)
@common
def list_(
    max_params: float | None, family: str | None, efficient: bool, image_size_px: int | None, as_json: bool
) -> None:
    """List the 131 architectures of the PePR paper, smallest first.

    Other timm models work too, but are not tested.
    """
    listed = [
        architecture
        for architecture in architectures().values()
        if (max_params is None or architecture.num_params <= max_params * 1e6)
        and (family is None or architecture.family.lower() == family.lower())
        and (architecture.efficient or not efficient)
        and (image_size_px is None or architecture.accepts(image_size_px))
    ]
    if as_json:
        print_json({"architectures": [dataclasses.asdict(architecture) for architecture in listed]})
        return
    header = ("architecture", "params", "family", "efficient", "native size", "takes")
    rows = [header, *(_cells(architecture) for architecture in listed)]
    echo("\n".join(aligned_table(rows, "lrllll")))
    _say_quirks(listed)


def _cells(architecture: Architecture) -> tuple[str, ...]:
    size = f"{architecture.native_size_px} px"
    return (
        architecture.name,
        f"{architecture.num_params / 1e6:.1f} M",
        architecture.family,
        "yes" if architecture.efficient else "no",
        f"{size}, fixed" if architecture.fixed_size else size,
        architecture.sizes,
    )


def _say_quirks(listed: list[Architecture]) -> None:
    """Explain restrictions of the image size; on stderr, since programs read the table."""
    names: dict[tuple[str, str], list[str]] = {}
    for architecture in listed:
        if architecture.quirk:
            names.setdefault((architecture.sizes, architecture.quirk), []).append(architecture.name)
    for (sizes, quirk), with_quirk in names.items():
        say(f"{sizes}: {', '.join(with_quirk)}: {quirk}")
    if any(architecture.fixed_size for architecture in listed):
        say("fixed: built for the requested size; weights trained at one size do not work at another")


@command.command("check")
@click.option(
    "--only", metavar="ARCH,...", help="Check these instead of all 131; other names of timm are allowed."
)
@click.option(
    "--image-size-px",
    type=click.IntRange(min=16),
    metavar="N",
    help="[default: 64, or the next size that the architecture supports]",
)
@click.option(
    "--out",
    type=OutFolderType(),
    help="Keep results here. [default: pepr_edge/zoo_check in the cache]",
)
@click.option(
    "--markdown",
    type=OutFileType(),
    metavar="FILE",
    help="Also write the table as a Markdown page.",
)
@click.option("--force", is_flag=True, help="Also replace a --markdown file that is not such a page.")
@common
def check(
    only: str | None,
    image_size_px: int | None,
    out: Path | None,
    markdown: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Create each architecture, train it for a step, export, quantise and run it.

    All of them take half an hour on two cores. Successful results are kept and not repeated; Ctrl-C loses
    only the current architecture. Exit status 3: an architecture failed.
    """
    need_training()
    from pepr_edge.zoo.check.sweep import default_folder, sweep

    names = list(architectures())
    if only is not None:
        names = list(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    if not names:
        raise click.UsageError("--only is empty, expected names separated by commas.")
    if markdown is not None:
        check_replaceable(markdown, force=force)
    view = TerminalView()
    with view.bar("zoo") as bar:

        def show(progress: SweepProgress) -> None:
            bar.update(progress.number, progress.total, f"{progress.architecture} {progress.stage}")
            row = progress.row
            if row is not None and (row.status == "failed" or not show_bars()):
                kept = " (kept)" if progress.reused else ""
                view.say(f"[{progress.number}/{progress.total}] {_line(row)}{kept}")

        rows = sweep(names, image_size_px, out or default_folder(), show)
    _report(rows, markdown, force, as_json)
    failed = [row for row in rows if row.status == "failed"]
    if failed:
        lines = [f"FAILED {row.architecture}: {row.stage}: {row.reason}" for row in failed]
        raise InvalidMeasurement("\n".join(lines))


def _report(rows: list[CheckRow], markdown: Path | None, force: bool, as_json: bool) -> None:
    if markdown is not None:
        from pepr_edge.zoo.check.markdown import page

        write_text(markdown, page(rows, shlex.join(["pepr-edge", *sys.argv[1:]])), exclusive=not force)
    if as_json:
        print_json({"rows": [row.model_dump(mode="json") for row in rows]})
        return
    header = ("architecture", "px", "exporter", "int8 agrees", "fp32 ms", "int8 ms", "status")
    table = [header, *(_check_cells(row) for row in rows)]
    echo("\n".join(aligned_table(table, "lrlrrrl")))
    passed = sum(row.status == "ok" for row in rows)
    echo(f"{passed} of {len(rows)} passed every stage")


def _check_cells(row: CheckRow) -> tuple[str, ...]:
    return (
        row.architecture,
        str(row.image_size_px or MISSING),
        row.exporter or MISSING,
        MISSING if row.decisions_agree is None else percent(row.decisions_agree),
        _ms(row.fp32_latency_s),
        _ms(row.int8_latency_s),
        row.status,
    )


def _ms(latency_s: float | None) -> str:
    return MISSING if latency_s is None else f"{latency_s * 1e3:.2f}"


def _line(row: CheckRow) -> str:
    """Return the result of an architecture as a line."""
    if row.status == "failed":
        return f"{row.architecture}@{row.image_size_px or '?'}: FAILED at {row.stage}: {row.reason}"
    times = f"{_ms(row.fp32_latency_s)} ms, int8 {_ms(row.int8_latency_s)} ms"
    line = f"{row.architecture}@{row.image_size_px}: ok, exported by {row.exporter}, {times}"
    return line if row.in_zoo else f"{line}; {row.note}"
