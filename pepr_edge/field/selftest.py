"""A bundle's own test: shipped inputs, run on this device, against the outputs that they had at home."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import BundleError
from pepr_edge.field.runtimes import RUNTIMES, Runtime
from pepr_edge.preprocess import to_tensor
from pepr_edge.records import Manifest, Preprocess, SelfTestResult, SessionSettings

FILE = "selftest.npz"


def make(runtime: Runtime, session: Any, pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """Logits of pixels, one image at a time, shape (n, classes)."""
    return np.concatenate([runtime.run(session, to_tensor(pixels[index : index + 1], spec)) for index in range(len(pixels))])


def run(bundle: Path, manifest: Manifest, settings: SessionSettings) -> SelfTestResult:
    """Run a bundle's self-test: every decision the same, and logits within the tolerance.

    Raises:
        BundleError: selftest.npz is not what the manifest says.
        MeasurementError: the model cannot be loaded here.
    """
    pixels, expected = _read(bundle / FILE, manifest)
    runtime = RUNTIMES[settings.runtime]
    found = make(runtime, runtime.open(bundle / "model.onnx", settings), pixels, manifest.preprocess)
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
        with np.load(path, allow_pickle=False) as file:
            pixels, logits = file["pixels"], file["logits"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise BundleError(
            f"{path}: not a self-test ({type(fault).__name__}), expected arrays `pixels` and `logits`. Get the bundle anew."
        ) from None
    px, channels = manifest.preprocess.image_size_px, manifest.preprocess.channels
    shapes = {"pixels": (manifest.selftest.n, px, px, channels), "logits": (manifest.selftest.n, len(manifest.labels))}
    if pixels.shape != shapes["pixels"] or logits.shape != shapes["logits"] or pixels.dtype != np.uint8:
        raise BundleError(f"{path}: arrays of shape {pixels.shape} and {logits.shape}, expected {shapes['pixels']} and {shapes['logits']}.")
    return pixels, logits.astype(np.float32)
