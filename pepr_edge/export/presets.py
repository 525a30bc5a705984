"""optimum's quantisation presets for instruction sets, read from the installed optimum."""

from __future__ import annotations

from typing import Any

from pepr_edge.errors import ExportError


def arguments(name: str) -> dict[str, Any]:
    """Return the arguments that optimum's ORTQuantizer passes to onnxruntime's quantiser for a preset.

    ORTQuantizer itself needs a calibration dataset of the package `datasets` and a model folder with a
    configuration.

    Args:
        name: of the preset in AutoQuantizationConfig.
    Raises:
        ExportError: optimum cannot be imported.
    Source: optimum-onnx, ORTQuantizer.quantize.
    """
    try:
        # Imported here because it imports torch and transformers, which no other variant needs.
        from optimum.onnxruntime.configuration import AutoQuantizationConfig
    except ImportError as fault:
        raise ExportError(
            f"optimum cannot be imported ({fault}), needed for the preset {name!r}. "
            "Run: pip install 'pepr_edge[train]'"
        ) from fault
    config = getattr(AutoQuantizationConfig, name)(is_static=True)
    return {
        "per_channel": config.per_channel,
        "reduce_range": config.reduce_range,
        "weight_qType": config.weights_dtype,
        "activation_qType": config.activations_dtype,
        "op_types_to_quantize": list(config.operators_to_quantize),
        "extra_options": {
            "WeightSymmetric": config.weights_symmetric,
            "ActivationSymmetric": config.activations_symmetric,
            "EnableSubgraph": False,
            "ForceSymmetric": config.activations_symmetric and config.weights_symmetric,
            "AddQDQPairToWeight": config.qdq_add_pair_to_weight,
            "DedicatedQDQPair": config.qdq_dedicated_pair,
            "QDQOpTypePerChannelSupportToAxis": config.qdq_op_type_per_channel_support_to_axis,
        },
    }
