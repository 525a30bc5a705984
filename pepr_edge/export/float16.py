"""Half precision."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx

from pepr_edge.errors import ExportError
from pepr_edge.export.prepare import Prepared, quiet


def float16(prepared: Prepared, path: Path) -> None:
    """Write the form whose weights and arithmetic are float16; its input and output stay float32.

    Raises:
        ExportError: the graph cannot be converted.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of every weight that is too small or too great: what it costs is measured
        try:
            model = convert_float_to_float16(
                onnx.load(str(prepared.path)), keep_io_types=True, node_block_list=list(prepared.sizes)
            )
        except Exception as fault:  # it raises whatever its graph passes raise
            raise ExportError(
                f"the graph cannot be converted to float16 ({type(fault).__name__}: {str(fault)[:200]})."
            ) from fault
    onnx.save(model, str(path))
