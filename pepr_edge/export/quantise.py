"""Static quantisation of an ONNX file with onnxruntime's quantiser."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ExportError
from pepr_edge.export.onnx_file import INPUT
from pepr_edge.export.variants import Quantise

CALIBRATION_BATCH = 16  # at most


def quantise(source: Path, path: Path, images: NDArray[np.float32], settings: Quantise) -> None:
    """Write the int8 form of a float32 ONNX file.

    Args:
        source: the float32 file.
        path: the file to be.
        images: model inputs to calibrate on, shape (n, channels, px, px).
        settings: types, ranges and calibration.
    Raises:
        ExportError: the quantiser cannot do this graph.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    kinds = {"uint8": quantization.QuantType.QUInt8, "int8": quantization.QuantType.QInt8}
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            # Folds batch normalisation and constants: what is fused before is not quantised twice.
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(path),
                _reader(images),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=kinds[settings.activation],
                weight_type=kinds[settings.weight],
                per_channel=settings.per_channel,
                reduce_range=settings.reduce_range,
                calibrate_method=getattr(quantization.CalibrationMethod, CALIBRATIONS[settings.calibration]),
            )
        except Exception as fault:  # the quantiser raises whatever its graph passes raise
            lines = str(fault).strip().splitlines()
            raise ExportError(
                f"onnxruntime cannot quantise this graph ({type(fault).__name__}: {lines[0][:200] if lines else ''})."
            ) from fault


CALIBRATIONS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice, which it gives on the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _reader(images: NDArray[np.float32]) -> Any:
    """The images in batches, in the form that the quantiser reads; all of one size, as its histograms of entropy and percentile need."""
    from onnxruntime.quantization import CalibrationDataReader

    size = next(size for size in range(CALIBRATION_BATCH, 0, -1) if len(images) % size == 0)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[NDArray[np.float32]] = iter([images[start : start + size] for start in range(0, len(images), size)])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()
