"""`pepr-edge serve`: hand a web kit to the browsers of this machine, or of the local network."""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import click

from pepr_edge.cli.common import PathType, common, echo, print_json, say


@click.command("serve")
@click.argument("folder", metavar="DIR", type=PathType())
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free port."
)
@click.option("--lan", is_flag=True, help="Also answer phones and tablets of the local network.")
@common
def command(folder: Path, port: int, lan: bool, as_json: bool) -> None:
    """Hand the web kit in DIR to browsers, until Ctrl-C.

    Without --lan only this machine is answered, and the page may use several threads. The page works without
    this command, too: it opens by double click.
    """
    from pepr_edge.kit.serve import serve

    def ready(address: str) -> None:
        if as_json:
            print_json({"address": address, "lan": lan})
            return
        echo(f"serving  {address}")
        if lan:
            echo(
                "Everybody on this network can open it. Phones get one thread: browsers ask for TLS for more."
            )
            _show_qr_code(address)
        echo("Ctrl-C ends it.")

    try:
        serve(folder, port, lan, ready)
    except KeyboardInterrupt:
        say("ended")


def _show_qr_code(address: str) -> None:
    """Show the address as a QR code, if the package for it is installed."""
    try:
        segno = importlib.import_module("segno")
    except ImportError:
        echo("For a QR code of the address: pip install 'pepr_edge[qr]'")
        return
    code = io.StringIO()
    segno.make(address, error="m").terminal(code, compact=True)
    echo(code.getvalue())
