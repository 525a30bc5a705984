"""Parity: compare an ONNX file with PyTorch on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure import selftest
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import Flips, Parity, Preprocess, SessionSettings, Split
from pepr_edge.scoring.intervals import wilson
from pepr_edge.tasks import Rule, agree_by

PARITY_IMAGES = 64
BATCHES = (1, 3, 8)
NOT_FINITE = "the file gives logits that are not finite numbers."
# If a model gives almost the same logits for every image, their spread must not make the tolerance 0.
MIN_SPREAD = 1e-2
FP32_PARITY = 1e-3  # of a float32 file, in standard deviations of the logits
Logits = NDArray[np.float32]


def onnx_logits(path: Path, pixels: NDArray[np.uint8], spec: Preprocess, threads: int) -> Logits:
    """Return the logits of images under onnxruntime, whatever the device uses; see `logits_of`."""
    return logits_of(path, pixels, spec, SessionSettings(threads=threads))


def logits_of(path: Path, pixels: NDArray[np.uint8], spec: Preprocess, settings: SessionSettings) -> Logits:
    """Return the logits of images under the runtime of the device, shape (n, classes); see `answers_of`."""
    return answers_of(path, pixels, spec, settings).logits


def answers_of(
    path: Path, pixels: NDArray[np.uint8], spec: Preprocess, settings: SessionSettings
) -> selftest.Answers:
    """Return what a file answers on images under the runtime of the device, one image at a time.

    Raises:
        ExportError: the file does not run, or its answers are not finite.
    """
    if settings.runtime == "pytorch":
        # It does not read ONNX files. onnxruntime computes the same weights in the same precision.
        settings = settings.model_copy(update={"runtime": "onnxruntime", "provider": "cpu"})
    try:
        answers = selftest.file_answers(path, settings, pixels, spec)
    except MeasurementError as fault:
        raise ExportError(str(fault)) from fault
    except Exception as fault:  # the runtimes have no common error class
        raise ExportError(f"the file does not run at batch 1 ({type(fault).__name__}).") from fault
    if not np.isfinite(answers.logits).all():
        raise ExportError(NOT_FINITE)
    if answers.novelty is not None and not np.isfinite(answers.novelty).all():
        raise ExportError("the file gives a novelty that is not a finite number.")
    return answers


def parity(
    path: Path, pixels: NDArray[np.uint8], expected: Logits, spec: Preprocess, tolerance: float, threads: int
) -> Parity:
    """Compare with PyTorch at batch 1, 3 and 8: this finds a graph that works at one batch size only.

    Args:
        path: the ONNX file.
        pixels: images of the validation split, uint8, shape (n, px, px, channels), n >= 1.
        expected: PyTorch's logits for them.
        spec: how pixels become the input.
        tolerance: in standard deviations of PyTorch's logits over these images.
        threads: of the session.
    Raises:
        ExportError: the file does not run at one of these batch sizes.
    """
    pixels = pixels[:PARITY_IMAGES]
    expected = expected[:PARITY_IMAGES]
    max_diff = float(np.abs(onnx_logits(path, pixels, spec, threads) - expected).max())
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(path, SessionSettings(threads=threads))
    for batch in BATCHES[1:]:
        indices = np.arange(batch) % len(pixels)
        try:
            logits = runtime.run(session, to_tensor(pixels[indices], spec))
        except Exception as fault:
            words = f"the file works at one batch size only: it fails at batch {batch}"
            raise ExportError(f"{words} ({type(fault).__name__}).") from fault
        if logits.shape != (batch, expected.shape[1]):
            raise ExportError(f"at batch {batch} the file gives outputs of shape {logits.shape}.")
        max_diff = max(max_diff, float(np.abs(logits - expected[indices]).max()))
    limit = max_difference(expected, tolerance)
    return Parity(
        images=len(pixels), batches=BATCHES, max_abs_diff=max_diff, tolerance=limit, passed=max_diff <= limit
    )


def max_difference(expected: Logits, tolerance: float) -> float:
    """Return how much logits may differ from the expected ones; `tolerance` is in standard deviations."""
    return tolerance * max(float(expected.std()), MIN_SPREAD)


def parity_fault(result: Parity) -> str | None:
    """Return the failure as text, or None if parity passed."""
    if result.passed:
        return None
    return f"its logits differ from PyTorch's by {result.max_abs_diff:.2g}, tolerance {result.tolerance:.2g}"


def flips(logits: Logits, expected: Logits, split: Split = "test", rule: Rule | None = None) -> Flips:
    """Count the decisions that differ between two sets of logits, each of shape (n, classes)."""
    n = len(expected)
    count = n - int(agree_by(logits, expected, rule or Rule()).sum())
    return Flips(count=count, n=n, ci=wilson(count, n), split=split)
