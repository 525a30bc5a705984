"""`pepr-edge verify`: check bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import PathType, common, echo, print_json, say
from pepr_edge.errors import BundleError, InvalidMeasurement, MeasurementError
from pepr_edge.text.tables import aligned_table
from pepr_edge.untrusted.shown import first_items, shown

if TYPE_CHECKING:
    from pepr_edge.field.verify import Verdict
    from pepr_edge.measure.inference_process import InferenceProcess


@click.command("verify")
@click.argument("bundles", nargs=-1, required=True, type=PathType(), metavar="BUNDLE...")
@common
def command(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Check that each BUNDLE is complete, and that its model decides on this device as on the workstation.

    Exit status 3: a bundle failed.
    """
    from pepr_edge.measure.inference_process import InferenceProcess

    verdicts: dict[Path, Verdict] = {}
    errors: list[str] = []
    with InferenceProcess() as process:
        for bundle in bundles:
            try:
                verdicts[bundle] = _check(bundle, process)
            except (BundleError, MeasurementError) as error:
                errors.append(str(error))
    names = {bundle: bundle.resolve().name for bundle in verdicts}
    if as_json:
        print_json({"bundles": [_row(names[bundle], verdict) for bundle, verdict in verdicts.items()]})
    elif verdicts:
        rows = [
            (names[bundle], "FAILED" if verdict.reasons else "passed") for bundle, verdict in verdicts.items()
        ]
        echo("\n".join(aligned_table(rows, "ll")))
    _raise_for(verdicts, names, errors)


def _raise_for(verdicts: dict[Path, Verdict], names: dict[Path, str], errors: list[str]) -> None:
    """Raise for bundles that failed, and for folders that are none."""
    failures = []
    for bundle, verdict in verdicts.items():
        failures += [f"{shown(names[bundle])}: {reason}" for reason in first_items(verdict.reasons)]
    if errors:
        raise BundleError("\n".join([*errors, *failures]))
    if failures:
        raise InvalidMeasurement("\n".join(failures))


def _check(bundle: Path, process: InferenceProcess) -> Verdict:
    """Check a bundle; a damaged manifest is a failed check, a folder without a manifest is an error.

    Raises:
        BundleError: the folder is not a bundle.
        MeasurementError: its model does not fit into memory.
    """
    from pepr_edge.bundle.read import MANIFEST
    from pepr_edge.device.preflight import check_memory
    from pepr_edge.field.verify import Verdict, check

    check_memory(bundle)
    try:
        return check(bundle, say=lambda note: say(f"{shown(bundle.resolve().name)} {note}"), process=process)
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
