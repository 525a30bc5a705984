"""`pepr-edge verify`: check bundles."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.errors import BundleError, InvalidMeasurement


@click.command("verify")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@common
def command(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Check that each BUNDLE is whole, and that its model decides on this device as it did at home.

    Exit status 3: one did not pass.
    """
    found = {bundle: _verify(bundle) for bundle in bundles}
    names = {bundle: bundle.resolve().name for bundle in bundles}
    if as_json:
        rows = [{"bundle": names[bundle], "passed": not reasons, "reasons": reasons} for bundle, reasons in found.items()]
        print_json({"bundles": rows})
    else:
        width = max(len(name) for name in names.values())
        for bundle, reasons in found.items():
            click.echo(f"{names[bundle]:<{width}}  {'FAILED' if reasons else 'passed'}")
    failed = [f"{names[bundle]}: {reason}" for bundle, reasons in found.items() for reason in reasons]
    if failed:
        raise InvalidMeasurement("\n".join(failed))


def _verify(bundle: Path) -> list[str]:
    """Why a bundle did not pass. One whose manifest is torn did not; a folder that has none is no bundle, and the user's mistake."""
    from pepr_edge.bundle.read import MANIFEST
    from pepr_edge.bundle.verify import verify

    try:
        return verify(bundle, say=lambda note: say(f"{bundle.resolve().name} {note}"))
    except BundleError as fault:
        if not (bundle / MANIFEST).exists():
            raise
        return [str(fault)]
