"""A bundle's self-test: run its images on this device, and compare with the expected logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import BundleError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.bundle_model import BundleModel, bundle_model
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.measure.runtimes import RUNTIMES, Runtime
from pepr_edge.records import Manifest, Preprocess, SelfTestResult, SessionSettings
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import agree_by
from pepr_edge.untrusted import npz

FILE = "selftest.npz"
PIXELS = "pixels"
LOGITS = "logits"
FALLBACK_LOGITS = "fallback_logits"


def session_logits(
    runtime: Runtime, session: Any, pixels: NDArray[np.uint8], preprocess: Preprocess
) -> NDArray[np.float32]:
    """Return the logits of images under an open model, run one at a time as on the device.

    Args:
        runtime: the module that opened `session`.
        session: an open model.
        pixels: uint8, shape (n, image_size_px, image_size_px, channels), n >= 1.
        preprocess: how pixels become the input.
    Returns:
        float32, shape (n, classes).
    """
    logits = [
        runtime.run(session, to_tensor(pixels[index : index + 1], preprocess)) for index in range(len(pixels))
    ]
    return np.concatenate(logits)


def file_logits(
    model: Path, settings: SessionSettings, pixels: NDArray[np.uint8], preprocess: Preprocess
) -> NDArray[np.float32]:
    """Return the logits of images under a model file, run one at a time as on the device.

    onnxruntime reports a file that it cannot run. Other runtimes were seen to end the process, so they get a
    process of their own.

    Args:
        model: the file.
        settings: how to run the runtime.
        pixels: as for `session_logits`.
        preprocess: how pixels become the input.
    Returns:
        float32, shape (n, classes).
    Raises:
        MeasurementError: the file cannot be run with these settings.
    """
    if settings.runtime == "onnxruntime":
        runtime = RUNTIMES[settings.runtime]
        return session_logits(runtime, runtime.open(model, settings), pixels, preprocess)
    from pepr_edge.measure.model_process import ModelProcess

    shape = (1, preprocess.channels, preprocess.image_size_px, preprocess.image_size_px)
    with ModelProcess(model, settings, shape) as process:
        return process.logits(pixels, preprocess)


def run(
    bundle: Path,
    manifest: Manifest,
    settings: SessionSettings,
    fallback: bool = False,
    process: InferenceProcess | None = None,
) -> SelfTestResult:
    """Run a bundle's self-test. It passes if every decision agrees and the logits are within the tolerance.

    Args:
        bundle: the folder.
        manifest: its manifest.
        settings: how to run the runtime.
        fallback: test the float32 file beside the model instead of the model.
        process: runs the model; None: a process for this test alone.
    Raises:
        BundleError: selftest.npz does not match the manifest, or there is no fallback.
        MeasurementError: the model cannot be run here, or gives no finite logits for one of the images.
    """
    model = bundle_model(bundle, manifest, settings, fallback)
    spec = manifest.selftest
    if fallback and manifest.fallback is not None:
        spec = manifest.fallback.selftest
    rule = rule_of(manifest.decision_of(fallback), manifest.labels)
    pixels, expected = _read(bundle / FILE, manifest, spec.n, FALLBACK_LOGITS if fallback else LOGITS)
    if process is None:
        with InferenceProcess() as own_process:
            logits = _logits(own_process, model, pixels, manifest.preprocess)
    else:
        logits = _logits(process, model, pixels, manifest.preprocess)
    agreeing = int(agree_by(logits, expected, rule).sum())
    max_abs_diff = float(np.abs(logits - expected).max())
    return SelfTestResult(
        passed=agreeing == len(pixels) and max_abs_diff <= spec.tolerance,
        decisions_agree=agreeing == len(pixels),
        agreeing=agreeing,
        max_abs_diff=max_abs_diff,
        tolerance=spec.tolerance,
        n=len(pixels),
    )


def _logits(
    process: InferenceProcess, model: BundleModel, pixels: NDArray[np.uint8], preprocess: Preprocess
) -> NDArray[np.float32]:
    """Return the logits of images, run one at a time as on the device."""
    process.open(model)
    images = range(len(pixels))
    return np.concatenate([process.logits(to_tensor(pixels[n : n + 1], preprocess)) for n in images])


def _read(
    path: Path, manifest: Manifest, n: int, logits_name: str
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the images and the expected logits of a self-test."""
    px = manifest.preprocess.image_size_px
    expected = f"expected `{PIXELS}` and `{logits_name}`. Copy the bundle again."
    try:
        with npz.opened(path) as archive:
            pixels = npz.read(archive, PIXELS, (n, px, px, manifest.preprocess.channels), np.uint8)
            logits = npz.read(archive, logits_name, (n, len(manifest.labels)), np.float32)
    except KeyError:
        raise BundleError(f"{path}: not a self-test, {expected}") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not a self-test ({error}), {expected}") from None
    if n < 1:
        raise BundleError(f"{path}: no images, expected at least one. Copy the bundle again.")
    if not np.isfinite(logits).all():
        raise BundleError(f"{path}: infinite logits, expected finite ones. Copy the bundle again.")
    return pixels, logits
