"""Is a bundle whole, and does its model decide on this device as it did at home?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pepr_edge.bundle.read import MANIFEST, is_litter, read_manifest
from pepr_edge.errors import BundleError, MeasurementError
from pepr_edge.field import selftest
from pepr_edge.field.settings import as_at_home, of_fallback
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


def verify(bundle: Path, settings: SessionSettings | None = None, say: Callable[[str], None] | None = None) -> list[str]:
    """Check a bundle's files, then run its self-test here, and that of its fallback.

    Args:
        bundle: the folder.
        settings: how the runtime is to run; None: as at home, as far as this device can.
        say: told on one line where the model runs otherwise than at home.
    Returns:
        The reasons why it did not pass; empty if it did. The model is not run where a file is not as shipped.
    Raises:
        BundleError: it is not a bundle at all.
    """
    manifest = read_manifest(bundle)
    if reasons := check_files(bundle, manifest):
        return reasons
    home = manifest.profile.settings
    if settings is None:
        settings, note = as_at_home(home)
        if note and say is not None:
            say(note)
    fault = _test(bundle, manifest, settings)
    if manifest.fallback is None:
        return [f"self-test: {fault} Do not use it on this device; try the bundle of another variant."] if fault else []
    fallback_fault = _test(bundle, manifest, of_fallback(home), fallback=True)
    if fault and fallback_fault:
        return [f"self-test: {fault} Nor does its float32 fallback pass: {fallback_fault} Do not use this bundle on this device."]
    if fault:
        return [f"self-test: {fault} Use its float32 fallback, which passes here: pepr-edge predict --fallback"]
    return [f"self-test of the fallback: {fallback_fault} The model itself passes and can be used."] if fallback_fault else []


def _test(bundle: Path, manifest: Manifest, settings: SessionSettings, fallback: bool = False) -> str:
    """Why a self-test did not pass, in one sentence; empty if it did."""
    try:
        result = selftest.run(bundle, manifest, settings, fallback)
    except (BundleError, MeasurementError) as fault:
        return str(fault)
    if not result.decisions_agree:
        return f"the model decides otherwise here than at home: {result.agreeing} of {result.n} decisions agree."
    if not result.passed:
        return f"the decisions agree, but logits differ by {result.max_abs_diff:.3g}, expected at most {result.tolerance:.3g}."
    return ""
