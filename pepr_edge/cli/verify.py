"""`pepr-edge verify`: check bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.errors import BundleError, InvalidMeasurement
from pepr_edge.untrusted.documents import shown

if TYPE_CHECKING:
    from pepr_edge.field.verify import Verdict


@click.command("verify")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@common
def command(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Check that each BUNDLE is whole, and that its model decides on this device as it did at home.

    Exit status 3: one did not pass.
    """
    found = {bundle: _check(bundle) for bundle in bundles}
    names = {bundle: shown(bundle.resolve().name) for bundle in bundles}
    if as_json:
        print_json({"bundles": [_row(names[bundle], verdict) for bundle, verdict in found.items()]})
    else:
        width = max(len(name) for name in names.values())
        for bundle, verdict in found.items():
            click.echo(f"{names[bundle]:<{width}}  {'FAILED' if verdict.reasons else 'passed'}")
    failed = [f"{names[bundle]}: {reason}" for bundle, verdict in found.items() for reason in verdict.reasons]
    if failed:
        raise InvalidMeasurement("\n".join(failed))


def _check(bundle: Path) -> Verdict:
    """What was found. A bundle whose manifest is torn did not pass; a folder that has none is no bundle, and the user's mistake."""
    from pepr_edge.bundle.read import MANIFEST
    from pepr_edge.field.verify import Verdict, check

    try:
        return check(bundle, say=lambda note: say(f"{bundle.resolve().name} {note}"))
    except BundleError as fault:
        if not (bundle / MANIFEST).exists():
            raise
        return Verdict([str(fault)])


def _row(name: str, verdict: Verdict) -> dict[str, Any]:
    """A bundle in the JSON document; null for what was not run."""
    tests = {"selftest": verdict.selftest, "fallback": verdict.fallback}
    return {
        "bundle": name,
        "passed": not verdict.reasons,
        "reasons": verdict.reasons,
        **{word: None if test is None else test.model_dump(mode="json") for word, test in tests.items()},
        "race": None if verdict.race is None else verdict.race._asdict(),
    }
