"""Quantise an ONNX file with onnxruntime's quantiser: statically, in QDQ form, or dynamically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from pepr_edge.errors import ExportError
from pepr_edge.export import presets
from pepr_edge.export.prepare import Images, PreparedModel, quantiser_fault, quiet
from pepr_edge.recipe.variants import WEIGHTED, Quantise

AS_ASKED = "as asked"
# Changes of the settings, tried in this order.
REMEDIES: dict[str, dict[str, Any]] = {
    AS_ASKED: {},
    "only Conv, Gemm and MatMul": {"op_types_to_quantize": list(WEIGHTED)},
    "only Conv, Gemm and MatMul, per tensor": {"op_types_to_quantize": list(WEIGHTED), "per_channel": False},
}


def static(prepared: PreparedModel, path: Path, images: Images, settings: Quantise) -> str:
    """Write the int8 form of a float32 ONNX file.

    If the quantiser fails on the graph, the next of REMEDIES is tried: all operators without weights stay
    float32, then each tensor has one range instead of one per channel.

    Args:
        prepared: the float32 file.
        path: the file to write.
        images: model inputs for calibration, shape (n, channels, px, px), n >= 1.
        settings: types, ranges and calibration.
    Returns:
        The remedy that worked, one of REMEDIES; AS_ASKED if none was needed.
    Raises:
        ExportError: the quantiser fails on this graph with every remedy.
    """
    arguments = presets.arguments(settings.preset) if settings.preset else _arguments(settings)
    arguments["nodes_to_exclude"] = list(prepared.size_nodes)
    if not settings.grouped:
        arguments["nodes_to_exclude"] += prepared.grouped_convolutions
    first_fault: Exception | None = None
    with quiet():
        try:
            ranges = prepared.ranges(settings.calibration, images)
        except Exception as fault:  # the calibrators raise the errors of the runtime
            raise ExportError(quantiser_fault(fault)) from fault
        for remedy, changes in REMEDIES.items():
            try:
                _quantise(prepared, path, ranges, {**arguments, **changes})
                return remedy
            except Exception as fault:
                first_fault = first_fault or fault
                # The failed attempt may have changed them.
                ranges = prepared.ranges(settings.calibration, images)
    assert first_fault is not None
    raise ExportError(quantiser_fault(first_fault)) from first_fault


def _quantise(prepared: PreparedModel, path: Path, ranges: Any, arguments: dict[str, Any]) -> None:
    """Quantise with given ranges; onnxruntime's quantize_static would calibrate again for each variant."""
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantiser = QDQQuantizer(
        onnx.load(str(prepared.path)), tensors_range=ranges, nodes_to_quantize=[], **arguments
    )
    quantiser.quantize_model()
    quantiser.model.save_model_to_file(str(path), False)


def _arguments(settings: Quantise) -> dict[str, Any]:
    """Return the quantiser's arguments for the settings of a variant."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    types = _quant_types()
    operators = list(settings.operators)
    all_operators = sorted({*QDQRegistry, *QLinearOpsRegistry})
    extra_options = {} if settings.outputs else {"OpTypesToExcludeOutputQuantization": operators}
    return {
        "per_channel": settings.per_channel,
        "reduce_range": settings.reduce_range,
        "weight_qType": types[settings.weight],
        "activation_qType": types[settings.activation],
        "op_types_to_quantize": operators or all_operators,
        "extra_options": extra_options,
    }


def _quant_types() -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

    return {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


def dynamic(prepared: PreparedModel, path: Path, settings: Quantise) -> str:
    """Write the form with int8 weights; activations are quantised at run time, with ranges of each image.

    Raises:
        ExportError: the quantiser fails on this graph.
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
                weight_type=_quant_types()[settings.weight],
                nodes_to_exclude=list(prepared.size_nodes),
            )
        except Exception as fault:
            raise ExportError(quantiser_fault(fault)) from fault
    return AS_ASKED
