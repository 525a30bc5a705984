"""`pepr-edge kit`: make a folder for a USB stick."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import (
    OutFolderType,
    PathType,
    common,
    echo,
    need_training,
    print_json,
    read_signer,
    read_trust,
    say,
    sign_option,
    trust_option,
)
from pepr_edge.cli.progress import TerminalView
from pepr_edge.device.preflight import PYTHON
from pepr_edge.errors import KitError
from pepr_edge.kit.platforms import PLATFORMS

if TYPE_CHECKING:
    from pepr_edge.kit.make import Kit
    from pepr_edge.kit.web_kit import WebKit
    from pepr_edge.signing.key_files import Signer, Trust

# The platform of web kits, and the Python of the others by default.
WEB = "web"
DEFAULT_PYTHON = "3.11"


@click.command("kit")
@click.argument("run_dir", type=PathType())
@click.option(
    "--platform",
    required=True,
    type=click.Choice((*PLATFORMS, WEB)),
    help="The kind of device; web: any device with a browser.",
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    default=(DEFAULT_PYTHON,),
    show_default=True,
    metavar="VERSION",
    help="Python version of the device; can be given several times.",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Number of models.")
@click.option("--dicom", is_flag=True, help="Include the packages that read DICOM images.")
@click.option(
    "--out",
    required=True,
    type=OutFolderType(),
    help="The folder to write; an existing kit in it is replaced.",
)
@sign_option("Sign the kit and its bundles with this private key, and include what checks signatures.")
@trust_option("Include these public keys: the kit's program then uses no bundle that none of them signed.")
@click.option("--webgpu", is_flag=True, help="web: also use graphics processors. The page becomes larger.")
@click.option(
    "--web-runtime",
    type=PathType(),
    metavar="FILE",
    help="web: the archive of onnxruntime-web, as `npm pack` writes it. By default npm fetches it, once.",
)
@common
def command(
    run_dir: Path,
    platform: str,
    pythons: tuple[str, ...],
    top: int,
    dicom: bool,
    out: Path,
    sign: Path | None,
    trust: Path | None,
    webgpu: bool,
    web_runtime: Path | None,
    as_json: bool,
) -> None:
    """Make a folder for a USB stick: the best models of RUN_DIR, and everything for a device without network.

    This machine needs a network connection; the device does not. START.txt in the folder explains the steps
    on the device. With --platform web the folder holds one page, which any browser opens.
    """
    if platform == WEB:
        if dicom or trust or pythons != (DEFAULT_PYTHON,):
            raise click.UsageError("--platform web: takes no --python, --dicom or --trust.")
        _make_web(run_dir, out, top, sign, webgpu, web_runtime, as_json)
        return
    if webgpu or web_runtime:
        raise click.UsageError("--webgpu and --web-runtime are for --platform web.")
    pythons = tuple(dict.fromkeys(pythons))
    for python in pythons:
        _check_python(python)
    if trust and not sign:
        raise click.UsageError("--trust makes the kit refuse bundles that are not signed: give --sign, too.")
    trusted = read_trust(trust)
    signer = read_signer(sign)
    need_training()
    from pepr_edge.kit.make import make

    with TerminalView().bar("kit") as bar:
        kit = make(
            run_dir,
            out,
            platform=platform,
            pythons=pythons,
            top=top,
            progress=bar.update,
            extras=("dicom",) if dicom else (),
            signer=signer,
            trust=trusted,
        )
    for warning in kit.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(_document(kit, out, signer))
    else:
        _show(kit, out, signer, trusted)


def _make_web(
    run_dir: Path,
    out: Path,
    top: int,
    sign: Path | None,
    webgpu: bool,
    web_runtime: Path | None,
    as_json: bool,
) -> None:
    """Make a web kit, and show it."""
    signer = read_signer(sign)
    need_training()
    from pepr_edge.kit.web_kit import make

    with TerminalView().bar("kit") as bar:
        kit = make(
            run_dir,
            out,
            top=top,
            progress=bar.update,
            webgpu=webgpu,
            runtime_file=web_runtime,
            signer=signer,
        )
    for warning in kit.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(_web_document(kit, out, signer))
    else:
        _show_web(kit, out, signer)


def _web_document(kit: WebKit, out: Path, signer: Signer | None) -> dict[str, Any]:
    return {
        "kit": str(out),
        "platform": WEB,
        "providers": list(kit.providers),
        "bundles": list(kit.bundles),
        "page_bytes": kit.page_bytes,
        "size_bytes": kit.size_bytes,
        "signed_by": None if signer is None else signer.public.fingerprint,
    }


def _show_web(kit: WebKit, out: Path, signer: Signer | None) -> None:
    echo(f"kit      {out}, {kit.size_bytes / 1e6:.1f} MB")
    echo(f"for      any browser of 2023 or later ({' and '.join(kit.providers)})")
    for bundle in kit.bundles:
        echo(f"bundle   {bundle}")
    if signer is not None:
        echo(f"signed   {signer.public.fingerprint}")
    echo(
        f"Copy {out} to a stick or a phone, and open index.html there; "
        f"or hand it out over the network: pepr-edge serve {out} --lan"
    )


def _document(kit: Kit, out: Path, signer: Signer | None) -> dict[str, Any]:
    return {
        "kit": str(out),
        "platform": kit.platform,
        "python": list(kit.pythons),
        "bundles": list(kit.bundles),
        "wheels": [wheel._asdict() for wheel in kit.wheels],
        "size_bytes": kit.size_bytes,
        "signed_by": None if signer is None else signer.public.fingerprint,
    }


def _show(kit: Kit, out: Path, signer: Signer | None, trust: Trust | None) -> None:
    echo(f"kit      {out}, {kit.size_bytes / 1e6:.0f} MB")
    echo(f"for      {kit.platform}, Python {' or '.join(kit.pythons)}")
    for bundle in kit.bundles:
        echo(f"bundle   {bundle}")
    echo(f"wheels   {len(kit.wheels)}")
    if signer is not None:
        echo(f"signed   {signer.public.fingerprint}")
    if trust is not None:
        echo("trusts   " + ", ".join(map(str, trust.keys)))
    echo(
        f"Copy {out} to a USB stick. On the device, follow START.txt; "
        "the device needs Python and nothing else."
    )


def _check_python(python: str) -> None:
    """Check a Python version without asking the package index."""
    if re.fullmatch(r"\d+\.\d+", python) is None:
        raise KitError(f"--python {python}: expected a version such as 3.11, without the patch level.")
    if tuple(map(int, python.split("."))) < PYTHON:
        minimum = ".".join(map(str, PYTHON))
        raise KitError(
            f"--python {python}: pepr_edge needs Python {minimum} or later. "
            "Install a newer Python on the device, or use another device."
        )
