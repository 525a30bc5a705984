"""`pepr-edge verify`: check bundles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pepr_edge.cli.common import PathType, common, echo, print_json, read_trust, say, trust_option
from pepr_edge.errors import BundleError, InvalidMeasurement, KitError, MeasurementError
from pepr_edge.text.tables import aligned_table
from pepr_edge.untrusted.shown import first_items, shown

if TYPE_CHECKING:
    from pepr_edge.field.verify import Verdict
    from pepr_edge.measure.inference_process import InferenceProcess
    from pepr_edge.signing.key_files import Trust
    from pepr_edge.signing.openssh import PublicKey


class _Checked(NamedTuple):
    """The verdict on a bundle, and the key that signed it; None if that was not asked or not found."""

    verdict: Verdict
    signer: PublicKey | None


@click.command("verify")
@click.argument("bundles", nargs=-1, required=True, type=PathType(), metavar="BUNDLE...")
@trust_option("Pass no bundle unless one of these public keys signed it: KEY.pub, or a file with several.")
@common
def command(bundles: tuple[Path, ...], trust: Path | None, as_json: bool) -> None:
    """Check that each BUNDLE is complete, and that its model decides on this device as on the workstation.

    A whole kit can be given, too, before it is installed: its files and its bundles are checked. Exit status
    3: a bundle failed.
    """
    from pepr_edge.measure.inference_process import InferenceProcess

    trusted = read_trust(trust)
    checked: dict[Path, _Checked] = {}
    errors: list[str] = []
    with InferenceProcess() as process:
        for bundle in _bundles(bundles, trusted, errors):
            try:
                checked[bundle] = _check(bundle, process, trusted)
            except (BundleError, MeasurementError) as error:
                errors.append(str(error))
    names = {bundle: bundle.resolve().name for bundle in checked}
    if as_json:
        print_json({"bundles": [_row(names[bundle], one) for bundle, one in checked.items()]})
    elif checked:
        rows = [_cells(names[bundle], one, trusted) for bundle, one in checked.items()]
        echo("\n".join(aligned_table(rows, "lll" if trusted else "ll")))
    _raise_for([(names[bundle], one.verdict) for bundle, one in checked.items()], errors)


def _bundles(given: Sequence[Path], trust: Trust | None, errors: list[str]) -> Iterator[Path]:
    """Yield the bundles, and those of each kit that is as it was made. `errors` says why one is not."""
    from pepr_edge.kit import check

    for folder in given:
        if not check.is_kit(folder):
            yield folder
            continue
        try:
            bundles = check.bundles_of(folder, trust)
        except KitError as error:
            errors.append(str(error))
        else:
            yield from bundles


def _cells(name: str, checked: _Checked, trust: Trust | None) -> tuple[str, ...]:
    cells = (name, "FAILED" if checked.verdict.reasons else "passed")
    if trust is None:
        return cells
    return (*cells, f"signed by {checked.signer or 'none of these keys'}")


def _raise_for(verdicts: Sequence[tuple[str, Verdict]], errors: list[str]) -> None:
    """Raise for bundles that failed, and for folders that are none."""
    failures = []
    for name, verdict in verdicts:
        failures += [f"{shown(name)}: {reason}" for reason in first_items(verdict.reasons)]
    if errors:
        raise BundleError("\n".join([*errors, *failures]))
    if failures:
        raise InvalidMeasurement("\n".join(failures))


def _check(bundle: Path, process: InferenceProcess, trust: Trust | None) -> _Checked:
    """Check a bundle; a damaged manifest is a failed check, a folder without a manifest is an error.

    Raises:
        BundleError: the folder is not a bundle.
        MeasurementError: its model does not fit into memory.
    """
    from pepr_edge.bundle.read import MANIFEST, is_signed, signer
    from pepr_edge.device.preflight import check_memory
    from pepr_edge.field.verify import Verdict, check

    def note(text: str) -> None:
        say(f"{shown(bundle.resolve().name)} {text}")

    signed_by = None
    try:
        if trust is not None:
            signed_by = signer(bundle, trust)
        check_memory(bundle)
        verdict = check(bundle, say=note, process=process, trust=trust)
    except BundleError as error:
        if not (bundle / MANIFEST).exists():
            raise
        verdict = Verdict([str(error)])
    if trust is None and is_signed(bundle):
        note("is signed, but by whom was not checked: give --trust PUBLIC_KEY")
    return _Checked(verdict, signed_by)


def _row(name: str, checked: _Checked) -> dict[str, Any]:
    """Return the JSON object of a bundle; null for tests that did not run."""
    verdict, signer = checked
    row: dict[str, Any] = {"bundle": name, "passed": not verdict.reasons, "reasons": verdict.reasons}
    for key, test in (("selftest", verdict.selftest), ("fallback", verdict.fallback)):
        row[key] = None if test is None else test.model_dump(mode="json")
    row["race"] = None if verdict.timing is None else verdict.timing._asdict()
    row["signed_by"] = None if signer is None else signer.fingerprint
    return row
