"""A bundle's own test: shipped inputs, run on this device, against the outputs that they had at home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import BundleError, MeasurementError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.runtimes import RUNTIMES, Runtime
from pepr_edge.records import Manifest, Preprocess, SelfTestResult, SessionSettings
from pepr_edge.untrusted import npz

FILE = "selftest.npz"
PIXELS, LOGITS, FALLBACK_LOGITS = "pixels", "logits", "fallback_logits"
# Eighty images of 1024 px in colour, the most that a recipe can ask for, are 240 MiB; and its logits.
PIXEL_BYTES = 256 << 20
FILE_BYTES = PIXEL_BYTES + (16 << 20)


def make(runtime: Runtime, session: Any, pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """Logits of images, one at a time as on the device.

    Args:
        runtime: the module that `session` is of.
        session: an open model.
        pixels: uint8, shape (n, image_size_px, image_size_px, channels), n >= 1.
        spec: how pixels become the input.
    Returns:
        float32, shape (n, classes).
    """
    return np.concatenate(
        [runtime.run(session, to_tensor(pixels[index : index + 1], spec)) for index in range(len(pixels))]
    )


def run(
    bundle: Path, manifest: Manifest, settings: SessionSettings, fallback: bool = False
) -> SelfTestResult:
    """Run a bundle's self-test: every decision the same, and logits within the tolerance.

    Args:
        bundle: the folder.
        manifest: its manifest.
        settings: how the runtime is to run.
        fallback: test the float32 file that lies beside the model, not the model.
    Raises:
        BundleError: selftest.npz is not what the manifest says, or there is no fallback.
        MeasurementError: the model cannot be run here, or gives no numbers.
    """
    model, spec = bundle / file_of(bundle, manifest, fallback), manifest.selftest
    if fallback and manifest.fallback is not None:
        spec = manifest.fallback.selftest
    pixels, expected = _read(bundle / FILE, manifest, spec.n, FALLBACK_LOGITS if fallback else LOGITS)
    found = answers(model, settings, pixels, manifest.preprocess)
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise MeasurementError(
            f"{model}: gives logits of shape {found.shape}{', some not finite,' * (not np.isfinite(found).all())} "
            f"on this device, expected finite ones of shape {expected.shape}. Do not use it here."
        )
    agreeing = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    agree = agreeing == len(pixels)
    greatest = float(np.abs(found - expected).max())
    return SelfTestResult(
        passed=agree and greatest <= spec.tolerance,
        decisions_agree=agree,
        agreeing=agreeing,
        max_abs_diff=greatest,
        tolerance=spec.tolerance,
        n=len(pixels),
    )


def file_of(bundle: Path, manifest: Manifest, fallback: bool) -> str:
    """Name of the model's file, or of the fallback's.

    Raises:
        BundleError: there is no fallback.
    """
    if not fallback:
        return "model.onnx"
    if manifest.fallback is None:
        raise BundleError(
            f"{bundle}: has no float32 fallback, its model is the only one. Leave out --fallback."
        )
    return manifest.fallback.file


def answers(
    model: Path, settings: SessionSettings, pixels: NDArray[np.uint8], spec: Preprocess
) -> NDArray[np.float32]:
    """Logits of images by a file, one at a time as on the device.

    onnxruntime says what it cannot do. Other runtimes were seen to end the process: let it be another one than this.

    Args:
        model: the file.
        settings: how the runtime is to run.
        pixels: as for `make`.
        spec: how pixels become the input.
    Returns:
        float32, shape (n, classes).
    Raises:
        MeasurementError: the file cannot be run so.
    """
    if settings.runtime == "onnxruntime":
        runtime = RUNTIMES[settings.runtime]
        return make(runtime, runtime.open(model, settings), pixels, spec)
    from pepr_edge.measure.model_process import ModelProcess

    with ModelProcess(
        model, settings, (1, spec.channels, spec.image_size_px, spec.image_size_px)
    ) as contestant:
        return contestant.logits(pixels, spec)


def _read(path: Path, manifest: Manifest, n: int, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    px, channels = manifest.preprocess.image_size_px, manifest.preprocess.channels
    try:
        with npz.opened(path) as archive:
            pixels = npz.read(archive, PIXELS, (n, px, px, channels), np.uint8)
            logits = npz.read(archive, name, (n, len(manifest.labels)), np.float32)
    except KeyError:
        raise BundleError(
            f"{path}: not a self-test, expected `{PIXELS}` and `{name}`. Copy the bundle again."
        ) from None
    except (OSError, ValueError) as fault:
        raise BundleError(
            f"{path}: not a self-test ({fault}), expected `{PIXELS}` and `{name}`. Copy the bundle again."
        ) from None
    if n < 1 or not np.isfinite(logits).all():
        raise BundleError(
            f"{path}: {n} images or infinite logits, expected at least one and finite ones. Copy the bundle again."
        )
    return pixels, logits
