"""`pepr-edge verify`: check bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import common, echo, print_json, say
from pepr_edge.errors import BundleError, InvalidMeasurement
from pepr_edge.text.tables import aligned_table
from pepr_edge.untrusted.shown import shown

if TYPE_CHECKING:
    from pepr_edge.field.verify import Verdict


@click.command("verify")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@common
def command(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Check that each BUNDLE is complete, and that its model decides on this device as on the workstation.

    Exit status 3: a bundle failed.
    """
    verdicts = {bundle: _check(bundle) for bundle in bundles}
    names = {bundle: shown(bundle.resolve().name) for bundle in bundles}
    if as_json:
        print_json({"bundles": [_row(names[bundle], verdict) for bundle, verdict in verdicts.items()]})
    else:
        rows = [
            (names[bundle], "FAILED" if verdict.reasons else "passed") for bundle, verdict in verdicts.items()
        ]
        echo("\n".join(aligned_table(rows, "ll")))
    failures: list[str] = []
    for bundle, verdict in verdicts.items():
        failures += [f"{names[bundle]}: {reason}" for reason in verdict.reasons]
    if failures:
        raise InvalidMeasurement("\n".join(failures))


def _check(bundle: Path) -> Verdict:
    """Check a bundle; a damaged manifest is a failed check, a folder without a manifest is an error.

    Raises:
        BundleError: the folder is not a bundle.
    """
    from pepr_edge.bundle.read import MANIFEST
    from pepr_edge.field.verify import Verdict, check

    try:
        return check(bundle, say=lambda note: say(f"{bundle.resolve().name} {note}"))
    except BundleError as error:
        if not (bundle / MANIFEST).exists():
            raise
        return Verdict([str(error)])


def _row(name: str, verdict: Verdict) -> dict[str, Any]:
    """Return the JSON object of a bundle; null for tests that did not run."""
    row: dict[str, Any] = {"bundle": name, "passed": not verdict.reasons, "reasons": verdict.reasons}
    for key, test in (("selftest", verdict.selftest), ("fallback", verdict.fallback)):
        row[key] = None if test is None else test.model_dump(mode="json")
    row["race"] = None if verdict.timing is None else verdict.timing._asdict()
    return row
