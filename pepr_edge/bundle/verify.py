"""Is a bundle whole, and does its model decide on this device as it did at home?"""

from __future__ import annotations

from pathlib import Path

from pepr_edge.bundle.read import MANIFEST, is_litter, read_manifest
from pepr_edge.errors import BundleError, MeasurementError
from pepr_edge.field import selftest
from pepr_edge.records import Manifest, SessionSettings
from pepr_edge.store import sha256_file


def read_whole(bundle: Path) -> Manifest:
    """The manifest of a bundle whose files are all as they were shipped.

    Raises:
        BundleError: it is no bundle, or a file of it is missing, altered or not part of it.
    """
    manifest = read_manifest(bundle)
    faults = check_files(bundle, manifest)
    if faults:
        more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        raise BundleError(f"{bundle}: {faults[0]}{more} Run `pepr-edge verify` for all of it.")
    return manifest


def check_files(bundle: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the bundle's files, a sentence each; empty if nothing is."""
    reasons = []
    for name, expected in manifest.files.items():
        path = bundle / name
        if path.is_symlink():
            reasons.append(f"{name}: a link, expected a file. Copy the bundle again.")
        elif not path.is_file():
            reasons.append(f"{name}: missing. Copy the bundle again.")
        elif (found := sha256_file(path)) != expected:
            reasons.append(f"{name}: sha256 {found[:12]}..., expected {expected[:12]}...: it was altered. Copy the bundle again.")
    strangers = {path.name for path in bundle.iterdir() if not is_litter(path.name)} - {MANIFEST, *manifest.files}
    return [*reasons, *(f"{name}: not part of the bundle. Take it away." for name in sorted(strangers))]


def verify(bundle: Path, settings: SessionSettings) -> list[str]:
    """Check a bundle's files, then run its self-test here.

    Returns:
        The reasons why it did not pass; empty if it did. The model is not run where a file is not as shipped.
    Raises:
        BundleError: it is not a bundle at all.
    """
    manifest = read_manifest(bundle)
    if reasons := check_files(bundle, manifest):
        return reasons
    try:
        result = selftest.run(bundle, manifest, settings)
    except (BundleError, MeasurementError) as fault:
        return [f"self-test: {fault}"]
    if not result.decisions_agree:
        return [
            "self-test: the model decides otherwise here than at home. Do not use it on this device; try the bundle of another variant."
        ]
    if not result.passed:
        return [
            f"self-test: the decisions agree, but logits differ by {result.max_abs_diff:.3g}, expected at most {result.tolerance:.3g}. "
            "Try the bundle of another variant."
        ]
    return []
