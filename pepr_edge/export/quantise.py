"""Static quantisation of an ONNX file with onnxruntime's quantiser."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pepr_edge.errors import ExportError
from pepr_edge.export.onnx_file import INPUT
from pepr_edge.export.variants import Quantise

CALIBRATION_BATCH = 16  # at most


def quantise(source: Path, path: Path, images: NDArray[np.float32], settings: Quantise) -> str:
    """Write the int8 form of a float32 ONNX file.

    Where the quantiser refuses the graph, the next of REMEDIES is tried: what only moves or adds stays float32, then one range a tensor.

    Args:
        source: the float32 file.
        path: the file to be.
        images: model inputs to calibrate on, shape (n, channels, px, px).
        settings: types, ranges and calibration.
    Returns:
        The remedy that it took, one of REMEDIES; AS_ASKED where none was needed.
    Raises:
        ExportError: the quantiser cannot do this graph in any way.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            # Folds batch normalisation and constants: what is fused before is not quantised twice.
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            sizes = _prepare(prepared)
        except Exception as fault:  # the quantiser raises whatever its graph passes raise
            raise ExportError(_refusal(fault)) from fault
        first: Exception | None = None
        for remedy, changes in REMEDIES.items():
            try:
                _quantise(prepared, path, images, settings, {**changes, "nodes_to_exclude": sizes})
                return remedy
            except Exception as fault:
                first = first or fault
        assert first is not None
        raise ExportError(_refusal(first)) from first


def _quantise(prepared: Path, path: Path, images: NDArray[np.float32], settings: Quantise, changes: dict[str, Any]) -> None:
    from onnxruntime import quantization

    kinds = {"uint8": quantization.QuantType.QUInt8, "int8": quantization.QuantType.QInt8}
    asked = {
        "quant_format": quantization.QuantFormat.QDQ,
        "activation_type": kinds[settings.activation],
        "weight_type": kinds[settings.weight],
        "per_channel": settings.per_channel,
        "reduce_range": settings.reduce_range,
        "calibrate_method": getattr(quantization.CalibrationMethod, CALIBRATIONS[settings.calibration]),
    }
    quantization.quantize_static(str(prepared), str(path), _reader(images), **{**asked, **changes})


def _refusal(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return f"onnxruntime cannot quantise this graph ({type(fault).__name__}: {lines[0][:200] if lines else ''})."


def _prepare(path: Path) -> list[str]:
    """Make a graph safe from the quantiser; the names of the nodes that it must leave alone.

    These compute sizes, as of the padding that keeps an image's size: exporters may do so in floating point, and a size that is rounded to
    one of 256 steps is another size.
    """
    model = onnx.load(str(path))
    renamed, named = _part_names(model.graph), _name_nodes(model.graph)
    if renamed or named:
        onnx.save(model, str(path))
    return _computing_sizes(model.graph)


def _part_names(graph: onnx.GraphProto) -> bool:
    """Rename shared constants that the quantiser would mix up with other tensors.

    Where several nodes share a bias, onnxruntime gives each a copy, named after the bias with a number behind it, and does not look
    whether there is a tensor of that name: val_12 and val_1288, of a large graph of the newer exporter.
    """
    uses = Counter(name for node in graph.node for name in node.input)
    tensors = {name for node in graph.node for name in (*node.input, *node.output)}
    stems = {name[:-digits] for name in tensors for digits in range(1, 7) if name[-digits:].isdigit()}
    renamed = {tensor.name: f"{tensor.name}_shared" for tensor in graph.initializer if uses[tensor.name] > 1 and tensor.name in stems}
    # A branch or loop would have names of its own; none of the zoo's graphs has one.
    if not renamed or any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return False
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    return True


def _name_nodes(graph: onnx.GraphProto) -> bool:
    """Give each node without a name one: it is by name that a node is excluded."""
    nameless = [(number, node) for number, node in enumerate(graph.node) if not node.name]
    for number, node in nameless:
        node.name = f"nameless_{number}"
    return bool(nameless)


def _computing_sizes(graph: onnx.GraphProto) -> list[str]:
    """The nodes that read nothing but sizes and constants."""
    constants, sizes, found = {"", *(tensor.name for tensor in graph.initializer)}, set[str](), list[str]()
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update(node.output)
            continue
        from_sizes = bool(sizes.intersection(node.input)) and all(name in constants or name in sizes for name in node.input)
        if from_sizes or node.op_type in ("Shape", "Size"):
            sizes.update(node.output)
            found.append(node.name)
    return found


AS_ASKED = "as asked"
WEIGHTED = ("Conv", "Gemm", "MatMul")
# In the order in which they are tried.
REMEDIES: dict[str, dict[str, Any]] = {
    AS_ASKED: {},
    "only Conv, Gemm and MatMul": {"op_types_to_quantize": list(WEIGHTED)},
    "only Conv, Gemm and MatMul, per tensor": {"op_types_to_quantize": list(WEIGHTED), "per_channel": False},
}
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
