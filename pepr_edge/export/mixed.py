"""int8 with the nodes that it harms most left float32: the worst tensors, twice as many each time, until the quality is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pepr_edge.errors import ExportError
from pepr_edge.export.prepare import Images, Prepared
from pepr_edge.export.quantise import static
from pepr_edge.recipe.variants import Quantise

MEASURED_ON = 8  # images; their channels' powers differ far less than those of the channels among each other
GREATEST_SHARE = 0.5  # of the nodes: with more of them float32 there is little left that int8 could speed up
KEPT_DECISIONS = 0.99  # MLPerf's rule, where nobody says what is good enough
NAMED = 8  # nodes, in a remedy


Powers = NDArray[np.float64]


class Quantised(NamedTuple):
    """A tensor that is rounded to 8 bits, with its range, and the nodes that give and take it."""

    name: str
    lowest: float
    highest: float
    nodes: frozenset[str]


def mixed(
    prepared: Prepared, path: Path, images: Images, settings: Quantise, accept: Callable[[Path], bool] | None
) -> str:
    """Write the int8 form in which the tensors that lose most are left float32: the worst 1, 2, 4, ... until it is good enough.

    Args:
        prepared: of the float32 file.
        path: the file to be.
        images: model inputs to calibrate and to measure on.
        settings: of the int8 form.
        accept: whether a file keeps its quality; None: whether it decides on `images` as the float32 file does.
    Returns:
        How many of the nodes that are int8 elsewhere were left float32, and which.
    Raises:
        ExportError: it would be more than half of them, or the quantiser cannot do this graph.
    """
    good = accept or _agreeing(prepared, images)
    remedy = static(prepared, path, images, settings)
    if good(path):
        return remedy
    tensors = _quantised(onnx.load(str(path)))
    all_nodes = frozenset().union(*(tensor.nodes for tensor in tensors))
    damage = _damage(prepared, tensors, images[:MEASURED_ON])
    worst = sorted(tensors, key=lambda tensor: -damage[tensor.name])
    for count in _doubling(len(worst)):
        floats = frozenset().union(*(tensor.nodes for tensor in worst[:count]))
        if len(floats) > GREATEST_SHARE * len(all_nodes):
            share = f"{len(floats)} of {len(all_nodes)} nodes would be left float32, more than half"
            raise ExportError(f"{share}, and with fewer the quality is not kept. Use the float32 file.")
        static(prepared, path, images, settings, keep=sorted(floats))
        if good(path):
            return _remedy(prepared, floats, len(all_nodes))
    raise ExportError(
        f"the quality is not kept whichever of the {len(all_nodes)} nodes are left float32. Use the float32 file."
    )


def _doubling(most: int) -> Iterator[int]:
    count = 1
    while count <= most:
        yield count
        count *= 2


def _remedy(prepared: Prepared, floats: frozenset[str], of: int) -> str:
    """In the order of the graph."""
    ordered = [node.name for node in onnx.load(str(prepared.path)).graph.node if node.name in floats]
    names = ", ".join(ordered[:NAMED]) + (" ..." if len(ordered) > NAMED else "")
    return f"{len(floats)} of {of} nodes left float32: {names}"


def _quantised(model: onnx.ModelProto) -> list[Quantised]:
    """The activations that a QDQ graph rounds."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node.name for node in model.graph.node for name in node.output}
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    found = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants:
            continue
        scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        limits, nodes = (
            np.iinfo(zero.dtype),
            {producers[node.input[0]]} if node.input[0] in producers else set[str](),
        )
        for restored in takers.get(node.output[0], []):
            nodes.update(
                taker.name
                for taker in takers.get(restored.output[0], [])
                if taker.op_type not in ("QuantizeLinear", "Shape")
            )
        lowest, highest = (float(scale) * (limit - int(zero)) for limit in (limits.min, limits.max))
        # The quantiser puts the pair before an output of the graph, which keeps its name.
        found.append(
            Quantised(node.input[0].removesuffix("_QuantizeLinear_Input"), lowest, highest, frozenset(nodes))
        )
    return found


def _damage(prepared: Prepared, tensors: list[Quantised], images: Images) -> dict[str, float]:
    """The share of each tensor's channels that its rounding drowns, from 0 to 1.

    By channel, since what a channel of great values does to the others is what ruins a network, and over the whole tensor it cannot be
    seen: those values are most of its power. That is measured on the float32 file, where the damage of one tensor is not yet that of all
    those behind it. Weights have a range for each channel; those lose nothing to each other.
    """
    import onnxruntime

    model = onnx.load(str(prepared.path))
    given = {value.name for value in model.graph.input}
    outside = [tensor for tensor in tensors if tensor.name not in given]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=tensor.name) for tensor in outside)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    signal: dict[str, list[Powers]] = {tensor.name: [] for tensor in tensors}
    noise: dict[str, list[Powers]] = {tensor.name: [] for tensor in tensors}
    for image in images:
        values = dict(
            zip((tensor.name for tensor in outside), session.run(None, {name: image[None]}), strict=True)
        ) | {name: image[None]}
        for tensor in tensors:
            exact, rounding = _powers(values[tensor.name], tensor)
            signal[tensor.name].append(exact)
            noise[tensor.name].append(rounding)
    return {name: _drowned(np.mean(signal[name], axis=0), np.mean(noise[name], axis=0)) for name in signal}


def _powers(values: NDArray[np.float32], tensor: Quantised) -> tuple[Powers, Powers]:
    """Power of each channel, and of its rounding."""
    step = (tensor.highest - tensor.lowest) / 255
    # What is below the range is what an activation cuts off that the quantiser has merged into it.
    exact = np.clip(values, tensor.lowest, tensor.highest).astype(np.float64)
    exact = exact.reshape(1, -1) if exact.ndim < 2 else np.moveaxis(exact, 1, 0).reshape(exact.shape[1], -1)
    rounded = np.round(exact / step) * step
    return np.square(exact).mean(axis=1), np.square(exact - rounded).mean(axis=1)


def _drowned(signal: Powers, noise: Powers) -> float:
    """Mean over the channels of noise by signal, at most 1: a channel cannot be more than lost. One that is always 0 loses nothing."""
    ratio = np.divide(noise, signal, out=np.zeros_like(noise), where=signal > 0)
    return float(np.minimum(ratio, 1.0).mean())


def _agreeing(prepared: Prepared, images: Images) -> Callable[[Path], bool]:
    """Whether a file decides on the images as the float32 file does."""
    expected = _decisions(prepared.base, images)
    return lambda path: bool(np.mean(_decisions(path, images) == expected) >= KEPT_DECISIONS)


def _decisions(path: Path, images: Images) -> NDArray[np.int64]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    logits: NDArray[np.float32] = np.concatenate(
        [session.run(None, {name: image[None]})[0] for image in images]
    )
    decisions: NDArray[np.int64] = logits.argmax(axis=1)
    return decisions
