"""Does an ONNX file do what PyTorch does? Judged on real images, against the spread of PyTorch's logits."""

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

PARITY_IMAGES = 64
BATCHES = (1, 3, 8)
NOT_FINITE = "the file gives logits that are not finite numbers."
Logits = NDArray[np.float32]


def onnx_logits(path: Path, pixels: NDArray[np.uint8], spec: Preprocess, threads: int) -> Logits:
    """Logits of images with onnxruntime, whatever will run the file in the end; see `logits_of`."""
    return logits_of(path, pixels, spec, SessionSettings(threads=threads))


def logits_of(path: Path, pixels: NDArray[np.uint8], spec: Preprocess, settings: SessionSettings) -> Logits:
    """Logits of images under the runtime that will run the file, one at a time as on the device, shape (n, classes).

    Raises:
        ExportError: the file does not run, or gives what is not a number.
    """
    if settings.runtime == "pytorch":
        settings = settings.model_copy(
            update={"runtime": "onnxruntime", "provider": "cpu"}
        )  # of the same weights, in the same precision
    try:
        logits = selftest.answers(path, settings, pixels, spec)
    except MeasurementError as fault:
        raise ExportError(str(fault)) from fault
    except Exception as fault:  # the runtime has no common error class
        raise ExportError(f"the file does not run at batch 1 ({type(fault).__name__}).") from fault
    if not np.isfinite(logits).all():
        raise ExportError(NOT_FINITE)
    return logits


def parity(
    path: Path, pixels: NDArray[np.uint8], expected: Logits, spec: Preprocess, tolerance: float, threads: int
) -> Parity:
    """Compare with PyTorch at batch 1, 3 and 8: a graph that was silently made for one batch is found here.

    Args:
        path: the ONNX file.
        pixels: images of the validation split, uint8, shape (n, px, px, channels), n >= 1.
        expected: PyTorch's logits for them.
        spec: how pixels become the input.
        tolerance: in standard deviations of PyTorch's logits over these images.
        threads: of the session.
    Raises:
        ExportError: the file does not run at one of them.
    """
    pixels, expected = pixels[:PARITY_IMAGES], expected[:PARITY_IMAGES]
    greatest = float(np.abs(onnx_logits(path, pixels, spec, threads) - expected).max())
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(path, SessionSettings(threads=threads))
    for batch in BATCHES[1:]:
        several = np.arange(batch) % len(pixels)
        try:
            together = runtime.run(session, to_tensor(pixels[several], spec))
        except Exception as fault:
            raise ExportError(
                f"the file was made for one batch size: it fails at batch {batch} ({type(fault).__name__})."
            ) from fault
        if together.shape != (batch, expected.shape[1]):
            raise ExportError(f"at batch {batch} the file gives outputs of shape {together.shape}.")
        greatest = max(greatest, float(np.abs(together - expected[several]).max()))
    # A spread near 0 (a model that says the same of every image) must not make the tolerance 0.
    limit = tolerance * max(float(expected.std()), 1e-2)
    return Parity(
        images=len(pixels), batches=BATCHES, max_abs_diff=greatest, tolerance=limit, passed=greatest <= limit
    )


def flips(logits: Logits, expected: Logits, split: Split = "test") -> Flips:
    """Decisions that differ between two sets of logits, shape (n, classes) each."""
    count, n = int((logits.argmax(axis=1) != expected.argmax(axis=1)).sum()), len(expected)
    return Flips(count=count, n=n, ci=wilson(count, n), split=split)
