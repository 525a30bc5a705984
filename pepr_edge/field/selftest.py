"""A bundle's own test: shipped inputs, run on this device, against the outputs that they had at home."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import BundleError, MeasurementError
from pepr_edge.field.runtimes import RUNTIMES, Runtime
from pepr_edge.preprocess import to_tensor
from pepr_edge.records import Manifest, Preprocess, SelfTestResult, SessionSettings

FILE = "selftest.npz"


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
    return np.concatenate([runtime.run(session, to_tensor(pixels[index : index + 1], spec)) for index in range(len(pixels))])


def run(bundle: Path, manifest: Manifest, settings: SessionSettings) -> SelfTestResult:
    """Run a bundle's self-test: every decision the same, and logits within the tolerance.

    Raises:
        BundleError: selftest.npz is not what the manifest says.
        MeasurementError: the model cannot be run here, or gives no numbers.
    """
    pixels, expected = _read(bundle / FILE, manifest)
    runtime = RUNTIMES[settings.runtime]
    found = make(runtime, runtime.open(bundle / "model.onnx", settings), pixels, manifest.preprocess)
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise MeasurementError(
            f"{bundle / 'model.onnx'}: gives logits of shape {found.shape}{', some not finite,' * (not np.isfinite(found).all())} "
            f"on this device, expected finite ones of shape {expected.shape}. Do not use it here."
        )
    agree = bool((found.argmax(axis=1) == expected.argmax(axis=1)).all())
    greatest = float(np.abs(found - expected).max())
    return SelfTestResult(
        passed=agree and greatest <= manifest.selftest.tolerance,
        decisions_agree=agree,
        max_abs_diff=greatest,
        tolerance=manifest.selftest.tolerance,
        n=len(pixels),
    )


def _read(path: Path, manifest: Manifest) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    try:
        # numpy leaves the file open where it is torn.
        with open(path, "rb") as opened:
            file = np.load(opened, allow_pickle=False)
            pixels, logits = file["pixels"], file["logits"]
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as fault:
        raise BundleError(
            f"{path}: not a self-test ({type(fault).__name__}), expected `pixels` and `logits`. Copy the bundle again."
        ) from None
    px, channels, n = manifest.preprocess.image_size_px, manifest.preprocess.channels, manifest.selftest.n
    expected = {"pixels": (n, px, px, channels), "logits": (n, len(manifest.labels))}
    found = {"pixels": pixels.shape, "logits": logits.shape}
    if n < 1 or found != expected or pixels.dtype != np.uint8 or logits.dtype != np.float32 or not np.isfinite(logits).all():
        raise BundleError(f"{path}: arrays of shape {found}, expected uint8 and finite float32 of {expected}. Copy the bundle again.")
    return pixels, logits
