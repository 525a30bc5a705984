"""`pepr-edge kit`: a folder for a USB stick."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pepr_edge.cli.common import common, need_training, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.device.preflight import PYTHON
from pepr_edge.errors import KitError
from pepr_edge.kit.platforms import PLATFORMS


@click.command("kit")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--platform", required=True, type=click.Choice(tuple(PLATFORMS)), help="What the device is.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    default=("3.11",),
    show_default=True,
    metavar="VERSION",
    help="Python of the device; may be given several times.",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many models.")
@click.option("--dicom", is_flag=True, help="With what reads DICOM images there.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder; a kit in it is replaced.",
)
@common
def command(
    run_dir: Path, platform: str, pythons: tuple[str, ...], top: int, dicom: bool, out: Path, as_json: bool
) -> None:
    """Make a folder for a USB stick: the best models of RUN_DIR, and all that a device without a network needs to run and measure them.

    This machine needs a network, the device does not. START.txt in the folder says in plain words what to do there.
    """
    pythons = tuple(dict.fromkeys(pythons))
    for python in pythons:
        _check_python(python)
    need_training()
    from pepr_edge.kit.make import make

    with TerminalView().bar("kit") as bar:
        made = make(
            run_dir,
            out,
            platform=platform,
            pythons=pythons,
            top=top,
            progress=bar.to,
            extras=("dicom",) if dicom else (),
        )
    for warning in made.warnings:
        say(f"warning: {warning}")
    if as_json:
        wheels = [wheel._asdict() for wheel in made.wheels]
        named = {
            "kit": str(out),
            "platform": platform,
            "python": list(pythons),
            "bundles": list(made.bundles),
        }
        print_json({**named, "wheels": wheels, "size_bytes": made.size_bytes})
        return
    click.echo(f"kit      {out}, {made.size_bytes / 1e6:.0f} MB")
    click.echo(f"for      {platform}, Python {' or '.join(pythons)}")
    for bundle in made.bundles:
        click.echo(f"bundle   {bundle}")
    click.echo(f"wheels   {len(made.wheels)}")
    click.echo(
        f"Copy {out} to a USB stick. On the device, START.txt says what to do; nothing else is needed there than Python."
    )


def _check_python(python: str) -> None:
    """What can be said without asking the index."""
    least = ".".join(map(str, PYTHON))
    if re.fullmatch(r"\d+\.\d+", python) is None:
        raise KitError(f"--python {python}: expected a version such as 3.11, without the patch level.")
    if tuple(map(int, python.split("."))) < PYTHON:
        raise KitError(
            f"--python {python}: pepr_edge needs Python {least} or later. Install a newer one on the device, or use another."
        )
