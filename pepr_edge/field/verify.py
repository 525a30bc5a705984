"""Check a bundle: its files are intact, and its model makes the same decisions on this device as at home."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pepr_edge.bundle.hub import PROCESSOR, decisions_of, hub_config, hub_preprocessor
from pepr_edge.bundle.read import MANIFEST, SIGNATURE, is_signed, limit_bytes, read_manifest
from pepr_edge.device.cpu import emulated
from pepr_edge.device.saturation import explanation
from pepr_edge.errors import BundleError, LibraryError, MeasurementError
from pepr_edge.measure import selftest
from pepr_edge.measure.bundle_model import model_file
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.measure.interleaved_timing import TimingRules, time_interleaved
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.measure.settings import device_settings, fallback_settings
from pepr_edge.records import Manifest, SelfTestResult, SessionSettings
from pepr_edge.run_dir.owned import is_os_metadata
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.signing.key_files import Trust
from pepr_edge.text.units import ms
from pepr_edge.untrusted import onnx_check
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import content
from pepr_edge.untrusted.shown import SHOWN_ITEMS, one_line, shown

# About one second for both models together. Neither is pruned.
TIMING_RULES = TimingRules(prune_ratio=math.inf, final_s=0.5, limit_s=5.0)


def read_whole(bundle: Path, trust: Trust | None = None) -> Manifest:
    """Return the manifest of a bundle, if all its files are as they were shipped.

    Args:
        bundle: the folder.
        trust: as in `read_manifest`.
    Raises:
        BundleError: not a bundle, not signed by a trusted key, or a file of it is missing, altered or not
            part of it.
    """
    manifest = read_manifest(bundle, trust)
    raise_for_files(bundle, manifest)
    return manifest


def raise_for_files(bundle: Path, manifest: Manifest) -> None:
    """Raise a BundleError if a file of a bundle is missing, altered or not part of it."""
    faults = check_files(bundle, manifest)
    if faults:
        others = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        raise BundleError(f"{bundle}: {faults[0]}{others} Run `pepr-edge verify` for all of it.")


def check_files(bundle: Path, manifest: Manifest) -> list[str]:
    """Return the faults of the bundle's files, one sentence each; empty if there are none."""
    faults = []
    for name, sha256 in manifest.files.items():
        fault = _file_fault(bundle / name, sha256)
        if fault is not None:
            faults.append(f"{name}: {fault}")
    names = {path.name for path in bundle.iterdir() if not is_os_metadata(path)}
    if is_signed(bundle):
        names.discard(SIGNATURE)
    extra = [shown(name) for name in sorted(names - {MANIFEST, *manifest.files})]
    faults += [f"{name}: not part of the bundle. Remove it." for name in extra[:SHOWN_ITEMS]]
    if len(extra) > SHOWN_ITEMS:
        faults.append(f"and {len(extra) - SHOWN_ITEMS} more files that are not part of the bundle.")
    if faults:
        return faults
    return [
        f"{MANIFEST}: {contradiction}: it was altered. Copy the bundle again."
        for contradiction in _contradictions(bundle, manifest)
    ]


def _contradictions(bundle: Path, manifest: Manifest) -> Iterator[str]:
    """Yield where the manifest, which has no checksum, differs from the hub's files, which have one.

    A swapped label would be a wrong answer.
    """
    expected = {
        "config.json": hub_config(
            manifest.architecture, manifest.labels, decisions_of(manifest), manifest.task
        ),
        "preprocessor_config.json": hub_preprocessor(manifest.preprocess),
    }
    for name, values in expected.items():
        if name not in manifest.files:
            continue
        try:
            document = json_document(content(bundle / name, limit_bytes(name)))
        except (OSError, ValueError) as error:
            yield f"{name}, which it names, cannot be read ({one_line(error)})"
            continue
        if not isinstance(document, dict):
            yield f"{name}, which it names, is no object"
            continue
        # Version 0.1 named another class for grey images.
        differing = [
            key for key, value in values.items() if key != PROCESSOR and document.get(key, value) != value
        ]
        if differing:
            yield f"not as {name} says ({', '.join(differing)})"


def _file_fault(path: Path, sha256: str) -> str | None:
    """Return the fault of a file, or None.

    Its kind and size are checked before it is read, and the content of a model before it is run.
    """
    if path.is_symlink():
        return "a link, expected a file. Copy the bundle again."
    if not path.is_file():
        return "missing. Copy the bundle again."
    size = path.stat().st_size
    max_size = limit_bytes(path.name)
    if size > max_size:
        advice = "Do not use this bundle; copy or export it again."
        return f"{size} bytes, expected at most {max_size}. {advice}"
    actual = sha256_file(path)
    if actual != sha256:
        return f"sha256 {actual[:12]}..., expected {sha256[:12]}...: it was altered. Copy the bundle again."
    fault = onnx_check.fault(path) if path.suffix == ".onnx" else None
    return None if fault is None else f"{fault}. Do not use this bundle."


class FallbackTiming(NamedTuple):
    """Median latencies of a model and of its fallback, measured in turn, seconds."""

    model_s: float
    fallback_s: float


class Verdict(NamedTuple):
    """Why a bundle did not pass (empty: it passed), and the self-tests of its model and its fallback.

    A self-test is None if it could not be run. `timing` says how much slower the fallback is; it is measured
    only if the fallback passes and the model does not.
    """

    reasons: list[str]
    selftest: SelfTestResult | None = None
    fallback: SelfTestResult | None = None
    timing: FallbackTiming | None = None


def check(
    bundle: Path,
    settings: SessionSettings | None = None,
    say: Callable[[str], None] | None = None,
    process: InferenceProcess | None = None,
    trust: Trust | None = None,
) -> Verdict:
    """Check a bundle's files, then run its self-test here, and that of its fallback.

    Args:
        bundle: the folder.
        settings: how to run the runtime; None: as at home, as far as this device supports it.
        say: called with one line if the model does not run as at home.
        process: runs the models; None: a process for this bundle alone.
        trust: as in `read_manifest`.
    Returns:
        The verdict. The model is not run if a file is not as it was shipped.
    Raises:
        BundleError: not a bundle at all, or not signed by a trusted key.
    """
    if process is None:
        with InferenceProcess() as own_process:
            return check(bundle, settings, say, own_process, trust)
    manifest = read_manifest(bundle, trust)
    faults = check_files(bundle, manifest)
    if faults:
        return Verdict(faults)
    if settings is None:
        settings, note = device_settings(manifest.profile.settings)
        if note and say is not None:
            say(note)
    tested, fault = _test(bundle, manifest, settings, process)
    if manifest.fallback is not None:
        return _check_with_fallback(bundle, manifest, settings, process, tested, fault)
    advice = "Do not use it on this device; try the bundle of another variant."
    return Verdict([f"self-test: {fault} {advice}"] if fault else [], tested)


def _check_with_fallback(
    bundle: Path,
    manifest: Manifest,
    settings: SessionSettings,
    process: InferenceProcess,
    tested: SelfTestResult | None,
    fault: str,
) -> Verdict:
    """Return the verdict on a bundle with a fallback. `tested` and `fault` are those of its model."""
    of_fallback = fallback_settings(manifest.profile.settings)
    fallback, fallback_fault = _test(bundle, manifest, of_fallback, process, fallback=True)
    if not fault:
        reason = f"self-test of the fallback: {fallback_fault} The model itself passes and can be used."
        return Verdict([reason] if fallback_fault else [], tested, fallback)
    if fallback_fault:
        advice = "Do not use this bundle on this device."
        reason = f"self-test: {fault} Its float32 fallback fails too: {fallback_fault} {advice}"
        return Verdict([reason], tested, fallback)
    timing = None
    # A model without any logits failed for another reason than saturation, and cannot be timed.
    if tested is not None:
        timing = _time_both(bundle, manifest, settings, of_fallback)
        cause = explanation(manifest.variant)
        if cause:
            fault = f"{cause} {fault[0].upper()}{fault[1:]}"
    advice = f"Use its float32 fallback, which passes here{_cost(timing)}: pepr-edge predict --fallback"
    return Verdict([f"self-test: {fault} {advice}"], tested, fallback, timing)


def _test(
    bundle: Path,
    manifest: Manifest,
    settings: SessionSettings,
    process: InferenceProcess,
    fallback: bool = False,
) -> tuple[SelfTestResult | None, str]:
    """Return the result of a self-test, and in one sentence why it did not pass; empty if it passed."""
    try:
        result = selftest.run(bundle, manifest, settings, fallback, process)
    except LibraryError:
        raise  # the bundle is not to blame
    except (BundleError, MeasurementError) as error:
        return None, str(error)
    if result.passed:
        return result, ""
    difference = f"logits differ by {result.max_abs_diff:.3g}, expected at most {result.tolerance:.3g}."
    if result.novelty_agrees is False and result.decisions_agree:
        return result, f"all {result.n} decisions agree, but it refers other images here than at home."
    if result.decisions_agree:
        return result, f"all {result.n} decisions agree, but {difference}"
    decisions = f"{result.agreeing} of {result.n} decisions agree"
    return result, f"the model decides otherwise here than at home: {decisions}, {difference}"


def _time_both(
    bundle: Path, manifest: Manifest, settings: SessionSettings, of_fallback: SessionSettings
) -> FallbackTiming | None:
    """Time the model and its fallback in turn, for a second or two; None if one of them cannot be run."""
    shape = (1, *manifest.input.shape[1:])
    try:
        with (
            ModelProcess(bundle / model_file(bundle, manifest, fallback=False), settings, shape) as model,
            ModelProcess(
                bundle / model_file(bundle, manifest, fallback=True), of_fallback, shape
            ) as fallback,
        ):
            results = time_interleaved({"model": model, "fallback": fallback}, TIMING_RULES)
    except MeasurementError:
        return None
    model_s = results["model"].latencies_s
    fallback_s = results["fallback"].latencies_s
    if not model_s or not fallback_s:
        return None
    return FallbackTiming(median(model_s), median(fallback_s))


def _cost(timing: FallbackTiming | None) -> str:
    """Return how much slower the fallback is, as a part of a sentence; empty if it was not timed."""
    if timing is None:
        return ""
    ratio = timing.fallback_s / timing.model_s
    remark = ", emulated" if emulated() else ""
    times = f"{ms(timing.fallback_s)} against {ms(timing.model_s)}{remark}"
    return f" and takes {ratio:.2g} times as long ({times})"
