"""Prepare and calibrate a float32 ONNX file for the quantiser: once for all int8 variants."""

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
from pepr_edge.export.optimise import has_subgraphs

CALIBRATION_BATCH = 16  # images at a time, at most
CALIBRATIONS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
# A histogram needs at least this range, in float32 steps. onnxruntime's percentile calibration has 2048 bins;
# the factor 16 is a margin, since one batch varies less than all images.
MIN_HISTOGRAM_STEPS = 16 * 2048
Images = NDArray[np.float32]


class PreparedModel:
    """Holds a float32 file open for its variants: prepared once, and calibrated once with each method."""

    def __init__(self, float32_path: Path) -> None:
        """Take the float32 file; the work is done on first use."""
        self.float32_path = float32_path
        self._folder = tempfile.TemporaryDirectory()
        self._ranges: dict[tuple[str, int], Any] = {}
        # What `int8.form` made of the file, by its settings.
        self.forms: dict[Any, Any] = {}

    def __enter__(self) -> PreparedModel:
        return self

    def __exit__(self, *fault: object) -> None:
        self._folder.cleanup()

    @cached_property
    def path(self) -> Path:
        """The file in the form that the quantiser takes.

        Raises:
            ExportError: the quantiser's own preparation fails on this graph.
        """
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path = Path(self._folder.name) / "prepared.onnx"
        try:
            with quiet():
                # Folds batch normalisation and constants, so that they are not quantised separately.
                quant_pre_process(str(self.float32_path), str(path), skip_symbolic_shape=True)
            model = onnx.load(str(path))
            renamed = _rename_shared_constants(model.graph)
            named = _name_nodes(model.graph)
            if renamed or named:
                onnx.save(model, str(path))
        except Exception as fault:  # the quantiser raises the errors of its graph passes
            raise ExportError(quantiser_fault(fault)) from fault
        return path

    @cached_property
    def size_nodes(self) -> tuple[str, ...]:
        """The nodes that compute sizes, which must stay float32.

        An example is the padding that keeps an image's size. Exporters may compute it in floating point, and
        a size rounded to one of 256 steps is wrong.
        """
        return tuple(_size_nodes(onnx.load(str(self.path)).graph))

    @cached_property
    def grouped_convolutions(self) -> tuple[str, ...]:
        """The convolutions with groups, including depthwise ones."""
        nodes = [node for node in onnx.load(str(self.path)).graph.node if node.op_type == "Conv"]
        return tuple(node.name for node in nodes if _has_groups(node))

    def ranges(self, calibration: str, images: Images) -> Any:
        """Return a copy of the range of every tensor over the images; the quantiser changes what it is given.

        The ranges are kept by the number of images: these must be the first of the same set in every call.
        """
        key = (calibration, len(images))
        if key not in self._ranges:
            self._ranges[key] = self._calibrated(calibration, images)
        return copy.deepcopy(self._ranges[key])

    def _calibrated(self, calibration: str, images: Images) -> Any:
        from onnxruntime import quantization
        from onnxruntime.quantization.calibrate import create_calibrator

        method = getattr(quantization.CalibrationMethod, CALIBRATIONS[calibration])
        path = Path(self._folder.name) / "calibrated.onnx"
        # An empty list of operators selects all tensors, so that one calibration serves every variant.
        calibrator = create_calibrator(self.path, [], str(path), method)
        narrow = {} if calibration == "minmax" else _narrow_ranges(self.ranges("minmax", images))
        if narrow:
            calibrator.tensors_to_calibrate -= set(narrow)
        input_name = calibrator.infer_session.get_inputs()[0].name
        for start in range(0, len(images), CALIBRATION_BATCH):
            # In batches: the histogram calibrators hold all tensors of one call in memory.
            calibrator.collect_data(_BatchReader(input_name, images[start : start + CALIBRATION_BATCH]))
        ranges = calibrator.compute_data()
        ranges.data.update(narrow)
        return ranges


def _narrow_ranges(ranges: Any) -> dict[str, Any]:
    """Return the ranges too narrow for a histogram: its bins would be narrower than the steps of float32."""
    narrow = {}
    for name, data in ranges.items():
        lowest = float(np.min(data.lowest))
        highest = float(np.max(data.highest))
        step = np.spacing(np.float32(max(abs(lowest), abs(highest))))
        if highest - lowest <= MIN_HISTOGRAM_STEPS * step:
            narrow[name] = data
    return narrow


class _BatchReader:
    """One batch, in the form that the calibrators read."""

    def __init__(self, input_name: str, batch: Images) -> None:
        self._batches = iter([{input_name: batch}])

    def get_next(self) -> dict[str, Images] | None:
        return next(self._batches, None)


def quantiser_fault(fault: Exception) -> str:
    """Return an error of the quantiser as one line."""
    lines = str(fault).strip().splitlines()
    reason = lines[0][:200] if lines else ""
    return f"onnxruntime cannot quantise this graph ({type(fault).__name__}: {reason})."


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the quantiser's advice on the root logger and its progress on stdout."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def _has_groups(convolution: onnx.NodeProto) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in convolution.attribute)


def _rename_shared_constants(graph: onnx.GraphProto) -> bool:
    """Rename shared constants that the quantiser would confuse with other tensors; True if any was renamed.

    If several nodes share a bias, onnxruntime gives each a copy, named after the bias with a number appended.
    It does not check for a tensor of that name, such as val_12 and val_1288 in large graphs of the newer
    exporter.
    """
    uses: Counter[str] = Counter()
    for node in graph.node:
        uses.update(node.input)
    stems = _stems_of_numbered_tensors(graph)
    renamed = {}
    for tensor in graph.initializer:
        if uses[tensor.name] > 1 and tensor.name in stems:
            renamed[tensor.name] = f"{tensor.name}_shared"
    # A branch or loop would have its own names; none of the zoo's graphs has one.
    if not renamed or has_subgraphs(graph):
        return False
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    return True


def _stems_of_numbered_tensors(graph: onnx.GraphProto) -> set[str]:
    """Return the names of tensors without one to six of their last digits."""
    stems = set()
    for node in graph.node:
        for name in (*node.input, *node.output):
            for digits in range(1, 7):
                if name[-digits:].isdigit():
                    stems.add(name[:-digits])
    return stems


def _name_nodes(graph: onnx.GraphProto) -> bool:
    """Give each node a name, by which it can be excluded; True if any had none."""
    changed = False
    for number, node in enumerate(graph.node):
        if not node.name:
            node.name = f"nameless_{number}"
            changed = True
    return changed


def _size_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the nodes that read only sizes and constants."""
    constants = {"", *(tensor.name for tensor in graph.initializer)}
    sizes: set[str] = set()
    names = []
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update(node.output)
            continue
        inputs = set(node.input)
        from_sizes = bool(inputs & sizes) and inputs <= constants | sizes
        if from_sizes or node.op_type in ("Shape", "Size"):
            sizes.update(node.output)
            names.append(node.name)
    return names
