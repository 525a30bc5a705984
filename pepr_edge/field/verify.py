"""Is a bundle whole, and does its model decide on this device as it did at home?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pepr_edge.bundle.hub import hub_config, hub_preprocessor
from pepr_edge.bundle.read import MANIFEST, limit_bytes, read_manifest
from pepr_edge.device.cpu import emulated
from pepr_edge.device.saturation import explanation
from pepr_edge.errors import BundleError, MeasurementError
from pepr_edge.measure import selftest
from pepr_edge.measure.interleaved_timing import TimingRules, time_interleaved
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.measure.selftest import file_of
from pepr_edge.measure.settings import as_at_home, of_fallback
from pepr_edge.records import Manifest, SelfTestResult, SessionSettings
from pepr_edge.run_dir.owned import is_os_metadata
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.text.units import ms
from pepr_edge.untrusted import onnx_check
from pepr_edge.untrusted.documents import content, json_document, shown

# A second or so for both together, and nobody is left behind.
TIMING_RULES = TimingRules(prune_ratio=math.inf, final_s=0.5, limit_s=5.0)


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
    reasons = [
        f"{name}: {fault}"
        for name, expected in manifest.files.items()
        if (fault := _file_fault(bundle / name, expected))
    ]
    strangers = {path.name for path in bundle.iterdir() if not is_os_metadata(path.name)} - {
        MANIFEST,
        *manifest.files,
    }
    found = [
        *reasons,
        *(f"{shown(name)}: not part of the bundle. Take it away." for name in sorted(strangers)),
    ]
    return found or [
        f"{MANIFEST}: {fault}: it was altered. Copy the bundle again."
        for fault in _contradictions(bundle, manifest)
    ]


def _contradictions(bundle: Path, manifest: Manifest) -> Iterator[str]:
    """Where the manifest, which has no checksum, says otherwise than the hub's files, which have: a swapped label is a wrong answer."""
    said = {
        "config.json": hub_config(manifest.architecture, manifest.labels),
        "preprocessor_config.json": hub_preprocessor(manifest.preprocess),
    }
    for name, values in said.items():
        if name not in manifest.files:
            continue
        try:
            document = json_document(content(bundle / name, limit_bytes(name)))
        except (OSError, ValueError) as fault:
            yield f"{name}, which it names, cannot be read ({fault})"
            continue
        if not isinstance(document, dict):
            yield f"{name}, which it names, is no object"
            continue
        if others := [key for key, value in values.items() if document.get(key, value) != value]:
            yield f"not as {name} says ({', '.join(others)})"


def _file_fault(path: Path, sha256: str) -> str | None:
    """What is wrong with a file: its kind and size are looked at before it is read, and of a model what it asks for before it is run."""
    if path.is_symlink():
        return "a link, expected a file. Copy the bundle again."
    if not path.is_file():
        return "missing. Copy the bundle again."
    if (size := path.stat().st_size) > limit_bytes(path.name):
        return f"{size} bytes, expected at most {limit_bytes(path.name)}. Do not use this bundle; copy or export it again."
    if (found := sha256_file(path)) != sha256:
        return f"sha256 {found[:12]}..., expected {sha256[:12]}...: it was altered. Copy the bundle again."
    if path.suffix == ".onnx" and (fault := onnx_check.fault(path)) is not None:
        return f"{fault}. Do not use this bundle."
    return None


class FallbackTiming(NamedTuple):
    """Medians of the latencies of a model and of its fallback, taken in turn, seconds."""

    model_s: float
    fallback_s: float


class Verdict(NamedTuple):
    """Why a bundle did not pass; nothing if it did. The self-tests of its model and of its fallback; None where one could not be run.

    `time_interleaved` is run where only the fallback passes: what it costs to use it in the model's place.
    """

    reasons: list[str]
    selftest: SelfTestResult | None = None
    fallback: SelfTestResult | None = None
    race: FallbackTiming | None = None


def check(
    bundle: Path, settings: SessionSettings | None = None, say: Callable[[str], None] | None = None
) -> Verdict:
    """Check a bundle's files, then run its self-test here, and that of its fallback.

    Args:
        bundle: the folder.
        settings: how the runtime is to run; None: as at home, as far as this device can.
        say: told on one line where the model runs otherwise than at home.
    Returns:
        What was found. The model is not run where a file is not as shipped.
    Raises:
        BundleError: it is not a bundle at all.
    """
    manifest = read_manifest(bundle)
    if reasons := check_files(bundle, manifest):
        return Verdict(reasons)
    home = manifest.profile.settings
    if settings is None:
        settings, note = as_at_home(home)
        if note and say is not None:
            say(note)
    tested, fault = _test(bundle, manifest, settings)
    if manifest.fallback is None:
        advice = "Do not use it on this device; try the bundle of another variant."
        return Verdict([f"self-test: {fault} {advice}"] if fault else [], tested)
    of_second = of_fallback(home)
    fallback, fallback_fault = _test(bundle, manifest, of_second, fallback=True)
    if not fault:
        reason = f"self-test of the fallback: {fallback_fault} The model itself passes and can be used."
        return Verdict([reason] if fallback_fault else [], tested, fallback)
    if fallback_fault:
        reason = f"self-test: {fault} Nor does its float32 fallback pass: {fallback_fault} Do not use this bundle on this device."
        return Verdict([reason], tested, fallback)
    raced = None if tested is None else _race(bundle, manifest, settings, of_second)
    # A model that gave no logits at all failed for another reason.
    if tested is not None and (why := explanation(manifest.variant)):
        fault = f"{why} {fault[0].upper()}{fault[1:]}"
    advice = f"Use its float32 fallback, which passes here{_cost(raced)}: pepr-edge predict --fallback"
    return Verdict([f"self-test: {fault} {advice}"], tested, fallback, raced)


def _test(
    bundle: Path, manifest: Manifest, settings: SessionSettings, fallback: bool = False
) -> tuple[SelfTestResult | None, str]:
    """The result of a self-test, and why it did not pass, in one sentence; empty if it did."""
    try:
        result = selftest.run(bundle, manifest, settings, fallback)
    except (BundleError, MeasurementError) as fault:
        return None, str(fault)
    differ = f"logits differ by {result.max_abs_diff:.3g}, expected at most {result.tolerance:.3g}."
    if not result.decisions_agree:
        return (
            result,
            f"the model decides otherwise here than at home: {result.agreeing} of {result.n} decisions agree, {differ}",
        )
    return result, "" if result.passed else f"all {result.n} decisions agree, but {differ}"


def _race(
    bundle: Path, manifest: Manifest, settings: SessionSettings, of_second: SessionSettings
) -> FallbackTiming | None:
    """Both in turn, for a second or two; None where one of them cannot be run so."""
    shape = (1, *manifest.input.shape[1:])
    try:
        with (
            ModelProcess(bundle / file_of(bundle, manifest, fallback=False), settings, shape) as model,
            ModelProcess(bundle / file_of(bundle, manifest, fallback=True), of_second, shape) as fallback,
        ):
            raced = time_interleaved({"model": model, "fallback": fallback}, TIMING_RULES)
    except MeasurementError:
        return None
    taken = [found.latencies_s for found in raced.values()]
    return FallbackTiming(*map(median, taken)) if all(taken) else None


def _cost(raced: FallbackTiming | None) -> str:
    if raced is None:
        return ""
    ratio, played = raced.fallback_s / raced.model_s, ", emulated" if emulated() else ""
    return (
        f" and takes {ratio:.2g} times as long ({ms(raced.fallback_s)} against {ms(raced.model_s)}{played})"
    )
