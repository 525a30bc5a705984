"""Make an int8 file, and read what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pepr_edge.export.prepare import PreparedModel
from pepr_edge.export.quantise import static
from pepr_edge.recipe.variants import Quantise


class Graph(NamedTuple):
    """An int8 file: its operators, and the scales and zero points of quantised tensors by name."""

    operators: list[str]
    scales: dict[str, NDArray[np.float32]]
    zeros: dict[str, NDArray[np.integer]]
    axes: dict[str, int]
    stored: dict[str, int]


def read(path: Path) -> Graph:
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales, zeros, axes = {}, {}, {}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scales[node.input[0]], zeros[node.input[0]] = values[node.input[1]], values[node.input[2]]
            axes[node.input[0]] = next((entry.i for entry in node.attribute if entry.name == "axis"), -1)
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    return Graph([node.op_type for node in model.graph.node], scales, zeros, axes, stored)


def quantise(source: Path, path: Path, images: NDArray[np.float32], settings: Quantise) -> str:
    with PreparedModel(source) as prepared:
        return static(prepared, path, images, settings)
