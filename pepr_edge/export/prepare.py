"""A float32 ONNX file made ready for the quantiser, and the ranges of its tensors: once for all that is quantised of it."""

from __future__ import annotations

import copy
import io
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pepr_edge.errors import ExportError

CALIBRATION_BATCH = 16  # at most
CALIBRATIONS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
NARROW_STEPS = (
    16 * 2048
)  # of float32; 2048 are the bins of onnxruntime's percentile calibration, and one batch varies less than all
Images = NDArray[np.float32]


class Prepared:
    """Holds a float32 file open for all that is made of it: prepared once, calibrated once with each method."""

    def __init__(self, base: Path) -> None:
        """Nothing is done until it is asked for."""
        self.base = base
        self._folder = tempfile.TemporaryDirectory()
        self._ranges: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *fault: object) -> None:
        self._folder.cleanup()

    @cached_property
    def path(self) -> Path:
        """The file in the form that the quantiser takes.

        Raises:
            ExportError: the quantiser's own preparation cannot do this graph.
        """
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path = Path(self._folder.name) / "prepared.onnx"
        try:
            with quiet():
                # Folds batch normalisation and constants: what is fused before is not quantised twice.
                quant_pre_process(str(self.base), str(path), skip_symbolic_shape=True)
            model = onnx.load(str(path))
            renamed, named = _part_names(model.graph), _name_nodes(model.graph)
            if renamed or named:
                onnx.save(model, str(path))
        except Exception as fault:  # the quantiser raises whatever its graph passes raise
            raise ExportError(refusal(fault)) from fault
        return path

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """The nodes that must be left alone.

        These compute sizes, as of the padding that keeps an image's size: exporters may do so in floating point, and a size that is rounded
        to one of 256 steps is another size.
        """
        return tuple(_computing_sizes(onnx.load(str(self.path)).graph))

    @cached_property
    def grouped(self) -> tuple[str, ...]:
        """The convolutions in groups, the depthwise ones among them."""
        nodes = [node for node in onnx.load(str(self.path)).graph.node if node.op_type == "Conv"]
        return tuple(
            node.name
            for node in nodes
            if any(entry.name == "group" and entry.i > 1 for entry in node.attribute)
        )

    def ranges(self, calibration: str, images: Images) -> Any:
        """The range of every tensor over some images, which are the same each time; a copy, since the quantiser changes it."""
        key = (calibration, len(images))
        if key not in self._ranges:
            self._ranges[key] = self._calibrated(calibration, images)
        return copy.deepcopy(self._ranges[key])

    def _calibrated(self, calibration: str, images: Images) -> Any:
        from onnxruntime import quantization
        from onnxruntime.quantization.calibrate import create_calibrator

        method = getattr(quantization.CalibrationMethod, CALIBRATIONS[calibration])
        path = Path(self._folder.name) / "calibrated.onnx"
        # No operators named: all tensors, so that one calibration does for whatever is quantised afterwards.
        calibrator = create_calibrator(self.path, [], str(path), method)
        narrow = {} if calibration == "minmax" else _narrow(self.ranges("minmax", images))
        if narrow:
            calibrator.tensors_to_calibrate -= set(narrow)
        for start in range(0, len(images), CALIBRATION_BATCH):
            # Batch by batch: the calibrators of histograms hold all tensors of what they are given at a time.
            calibrator.collect_data(
                _Reader(
                    calibrator.infer_session.get_inputs()[0].name, images[start : start + CALIBRATION_BATCH]
                )
            )
        found = calibrator.compute_data()
        found.data.update(narrow)
        return found


def _narrow(ranges: Any) -> dict[str, Any]:
    """The tensors that hardly vary, of whose values no histogram can be made: its bins would be narrower than float32 can tell apart."""
    limits = {
        name: (float(np.min(data.lowest)), float(np.max(data.highest))) for name, data in ranges.items()
    }
    return {
        name: ranges[name]
        for name, (lowest, highest) in limits.items()
        if highest - lowest <= NARROW_STEPS * np.spacing(np.float32(max(abs(lowest), abs(highest))))
    }


class _Reader:
    """One batch, in the form that the calibrators read."""

    def __init__(self, name: str, batch: Images) -> None:
        self.batches = iter([{name: batch}])

    def get_next(self) -> dict[str, Images] | None:
        return next(self.batches, None)


def refusal(fault: Exception) -> str:
    """One line on what the quantiser said."""
    lines = str(fault).strip().splitlines()
    return (
        f"onnxruntime cannot quantise this graph ({type(fault).__name__}: {lines[0][:200] if lines else ''})."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the quantiser's advice, which it gives on the root logger, and its progress, which it prints where results belong."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def _part_names(graph: onnx.GraphProto) -> bool:
    """Rename shared constants that the quantiser would mix up with other tensors.

    Where several nodes share a bias, onnxruntime gives each a copy, named after the bias with a number behind it, and does not look
    whether there is a tensor of that name: val_12 and val_1288, of a large graph of the newer exporter.
    """
    uses = Counter(name for node in graph.node for name in node.input)
    tensors = {name for node in graph.node for name in (*node.input, *node.output)}
    stems = {name[:-digits] for name in tensors for digits in range(1, 7) if name[-digits:].isdigit()}
    renamed = {
        tensor.name: f"{tensor.name}_shared"
        for tensor in graph.initializer
        if uses[tensor.name] > 1 and tensor.name in stems
    }
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
        from_sizes = bool(sizes.intersection(node.input)) and all(
            name in constants or name in sizes for name in node.input
        )
        if from_sizes or node.op_type in ("Shape", "Size"):
            sizes.update(node.output)
            found.append(node.name)
    return found
