"""Convert a float32 ONNX file to float16."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx

from pepr_edge.errors import ExportError
from pepr_edge.export.prepare import PreparedModel, quiet


def float16(prepared: PreparedModel, path: Path) -> None:
    """Write the file with weights and arithmetic in float16; its input and output stay float32.

    Raises:
        ExportError: the graph cannot be converted.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet(), warnings.catch_warnings():
        # It warns of every weight outside the range of float16. The effect is measured.
        warnings.simplefilter("ignore")
        try:
            model = convert_float_to_float16(
                onnx.load(str(prepared.path)),
                keep_io_types=True,
                node_block_list=list(prepared.size_nodes),
            )
        except Exception as fault:  # it raises the errors of its graph passes
            words = f"{type(fault).__name__}: {str(fault)[:200]}"
            raise ExportError(f"the graph cannot be converted to float16 ({words}).") from fault
    onnx.save(model, str(path))
