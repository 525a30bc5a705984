"""The int8 form of a float32 file for integer kernels: rewritten, equalised, ranges chosen, corrected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pepr_edge.errors import ExportError
from pepr_edge.export.int8 import bias, clean, concats, equalise, placement, ranges, rewrites, statistics
from pepr_edge.export.int8.graph import Graph
from pepr_edge.export.int8.ranges import Range
from pepr_edge.export.prepare import Images, PreparedModel, quantiser_fault, quiet
from pepr_edge.recipe.variants import Quantise


class Int8Form:
    """Holds what all int8 files of one float32 file have in common, whichever nodes stay float32.

    `graph` computes the same as the float32 file. `floats` are the nodes without a fast integer kernel.
    """

    def __init__(self, prepared: PreparedModel, images: Images, settings: Quantise) -> None:
        """Rewrite the graph and measure its tensors on the images.

        Raises:
            ExportError: the graph cannot be rewritten, or no node of it has an integer kernel.
        """
        self.settings = settings
        try:
            self.graph, self.rewritten = rewrites.rewrite(onnx.load(str(prepared.path)))
        except ValueError as fault:
            raise ExportError(f"int8 for integer kernels: {fault}.") from fault
        self.floats = placement.float_nodes(self.graph)
        names = _rounded_tensors(self.graph, self.floats)
        if not names:
            raise ExportError(
                "int8 for integer kernels: no node of this graph has one. Use the float32 file."
            )
        self.statistics = statistics.measure(self.graph, names, images)
        if settings.equalise and equalise.equalise(self.graph, self.statistics):
            self.graph = Graph(self.graph.save())
            self.statistics = statistics.measure(self.graph, names, images)
        self.ranges = self._choose_ranges()

    def _choose_ranges(self) -> dict[str, Range]:
        if self.settings.calibration == "mse":
            found = ranges.choose(self.graph, self.statistics)
        else:
            found = ranges.extremes(self.statistics)
        return concats.share(self.graph, self.floats, found)

    def write(self, path: Path, keep: frozenset[str] = frozenset()) -> None:
        """Write the int8 file, with further nodes in float32.

        Raises:
            ExportError: onnxruntime's quantiser fails on this graph.
        """
        floats = placement.float_nodes(self.graph, keep)
        graph = Graph(self.graph.save())
        if self.settings.correct:
            bias.correct(graph, floats, self.statistics, self.ranges, self.settings)
        try:
            with quiet():
                quantised = _quantise(graph.save(), floats, self.ranges, self.settings)
        except Exception as fault:  # the quantiser raises the errors of its graph passes
            raise ExportError(quantiser_fault(fault)) from fault
        cleaned = Graph(quantised)
        clean.strip_roundings(cleaned, floats)
        clean.fold_factors(cleaned)
        onnx.save(cleaned.save(), str(path))


def int8_form(prepared: PreparedModel, images: Images, settings: Quantise) -> Int8Form:
    """Return the form of a float32 file for these settings; it is made once."""
    key = (len(images), settings)
    if key not in prepared.forms:
        prepared.forms[key] = Int8Form(prepared, images, settings)
    form = prepared.forms[key]
    assert isinstance(form, Int8Form)
    return form


def integer_kernels(prepared: PreparedModel, path: Path, images: Images, settings: Quantise) -> str:
    """Write the int8 form of a float32 file; return what was rewritten.

    Raises:
        ExportError: it cannot be made of this graph.
    """
    form = int8_form(prepared, images, settings)
    form.write(path)
    return description(form.rewritten)


def description(rewritten: Mapping[str, int]) -> str:
    """Return the rewrites as text."""
    steps = ", ".join(f"{name} ({count})" for name, count in rewritten.items())
    return f"rewritten for integer kernels: {steps}" if steps else "for integer kernels, as it was"


def _rounded_tensors(graph: Graph, floats: frozenset[str]) -> list[str]:
    """Return the tensors that integer nodes make or read."""
    names: dict[str, None] = {}
    for node in graph.nodes:
        if node.name not in floats:
            data = [name for name in node.input if name and graph.constant(name) is None]
            names.update(dict.fromkeys([*data, *node.output]))
    return list(names)


def _quantise(
    model: onnx.ModelProto, floats: frozenset[str], limits: Mapping[str, Range], settings: Quantise
) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    values: dict[str, Any] = {
        name: (np.float32(low), np.float32(high)) for name, (low, high) in limits.items()
    }
    quantiser = QDQQuantizer(
        model,
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, values),
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(floats),
        op_types_to_quantize=list(placement.OPERATORS),
        extra_options={},
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    quantised: onnx.ModelProto = quantiser.model.model
    return quantised
