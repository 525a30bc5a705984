"""Quantisation of an ONNX file with onnxruntime's quantiser: statically, in QDQ form, or dynamically."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx

from pepr_edge.errors import ExportError
from pepr_edge.export import presets
from pepr_edge.export.prepare import Images, Prepared, quiet, refusal
from pepr_edge.recipe.variants import WEIGHTED, Quantise

AS_ASKED = "as asked"
# In the order in which they are tried.
REMEDIES: dict[str, dict[str, Any]] = {
    AS_ASKED: {},
    "only Conv, Gemm and MatMul": {"op_types_to_quantize": list(WEIGHTED)},
    "only Conv, Gemm and MatMul, per tensor": {"op_types_to_quantize": list(WEIGHTED), "per_channel": False},
}


def static(
    prepared: Prepared, path: Path, images: Images, settings: Quantise, keep: Collection[str] = ()
) -> str:
    """Write the int8 form of a float32 ONNX file.

    Where the quantiser refuses the graph, the next of REMEDIES is tried: what only moves or adds stays float32, then one range a tensor.

    Args:
        prepared: of the float32 file.
        path: the file to be.
        images: model inputs to calibrate on, shape (n, channels, px, px), n >= 1.
        settings: types, ranges and calibration.
        keep: names of nodes that stay float32.
    Returns:
        The remedy that it took, one of REMEDIES; AS_ASKED where none was needed.
    Raises:
        ExportError: the quantiser cannot do this graph in any way.
    """
    asked = presets.arguments(settings.preset) if settings.preset else _arguments(settings)
    floats = [*prepared.sizes, *keep, *(() if settings.grouped else prepared.grouped)]
    first: Exception | None = None
    with quiet():
        try:
            ranges = prepared.ranges(settings.calibration, images)
        except Exception as fault:  # the calibrators raise whatever the runtime raises
            raise ExportError(refusal(fault)) from fault
        for remedy, changes in REMEDIES.items():
            try:
                _quantise(prepared, path, ranges, {**asked, **changes, "nodes_to_exclude": floats})
                return remedy
            except Exception as fault:
                first = first or fault
                ranges = prepared.ranges(settings.calibration, images)
    assert first is not None
    raise ExportError(refusal(first)) from first


def _quantise(prepared: Prepared, path: Path, ranges: Any, arguments: dict[str, Any]) -> None:
    """Without quantize_static, which would calibrate anew for each variant."""
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantiser = QDQQuantizer(
        onnx.load(str(prepared.path)), tensors_range=ranges, nodes_to_quantize=[], **arguments
    )
    quantiser.quantize_model()
    quantiser.model.save_model_to_file(str(path), False)


def _arguments(settings: Quantise) -> dict[str, Any]:
    """What the quantiser takes, from what a variant says."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    kinds = _kinds()
    return {
        "per_channel": settings.per_channel,
        "reduce_range": settings.reduce_range,
        "weight_qType": kinds[settings.weight],
        "activation_qType": kinds[settings.activation],
        "op_types_to_quantize": list(settings.operators) or sorted({*QDQRegistry, *QLinearOpsRegistry}),
        "extra_options": {}
        if settings.outputs
        else {"OpTypesToExcludeOutputQuantization": list(settings.operators)},
    }


def _kinds() -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

    return {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


def dynamic(prepared: Prepared, path: Path, settings: Quantise) -> str:
    """Write the form whose weights are int8, and whose activations are quantised as they come, with ranges taken anew for each image.

    Raises:
        ExportError: the quantiser cannot do this graph.
    """
    from onnxruntime.quantization import quantize_dynamic

    with quiet():
        try:
            quantize_dynamic(
                str(prepared.path),
                str(path),
                op_types_to_quantize=list(settings.operators) or None,
                per_channel=settings.per_channel,
                reduce_range=settings.reduce_range,
                weight_type=_kinds()[settings.weight],
                nodes_to_exclude=list(prepared.sizes),
            )
        except Exception as fault:
            raise ExportError(refusal(fault)) from fault
    return AS_ASKED
