"""int8 with the most damaged tensors left in float32: the worst 1, 2, 4, ... until the quality is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pepr_edge.errors import ExportError
from pepr_edge.export.prepare import Images, PreparedModel
from pepr_edge.export.quantise import static
from pepr_edge.recipe.variants import Quantise
from pepr_edge.tasks import task_of

# Images on which the damage is measured. The power of a channel varies far less between images than between
# channels.
DAMAGE_IMAGES = 8
MAX_FLOAT_SHARE = 0.5  # of the nodes: with more of them in float32, int8 gains little speed
MIN_AGREEMENT = 0.99  # MLPerf's rule, if the caller gives no quality gate
MAX_NAMES = 8  # of nodes in a remedy

Powers = NDArray[np.float64]


class QuantisedTensor(NamedTuple):
    """A tensor that is rounded to 8 bits, its range, and the nodes that produce and consume it."""

    name: str
    lowest: float
    highest: float
    nodes: frozenset[str]


def mixed(
    prepared: PreparedModel,
    path: Path,
    images: Images,
    settings: Quantise,
    accept: Callable[[Path], bool] | None,
) -> str:
    """Write the int8 form whose worst 1, 2, 4, ... tensors stay float32, until the quality is kept.

    Args:
        prepared: the float32 file.
        path: the file to write.
        images: model inputs for calibration and for measuring the damage.
        settings: of the int8 form.
        accept: True if a file keeps the quality. If None, a file must decide on `images` as the float32 file
            does.
    Returns:
        The remedy: how many of the quantised nodes stayed float32, and which.
    Raises:
        ExportError: more than half of them would stay float32, or the quantiser fails on this graph.
    """
    accept = accept or _agreement_check(prepared, images)
    remedy = static(prepared, path, images, settings)
    if accept(path):
        return remedy
    tensors = _quantised_tensors(onnx.load(str(path)))
    all_nodes = _nodes_of(tensors)
    damage = _damage(prepared, tensors, images[:DAMAGE_IMAGES])
    worst_first = sorted(tensors, key=lambda tensor: -damage[tensor.name])
    count = 1
    while count <= len(worst_first):
        floats = _nodes_of(worst_first[:count])
        if len(floats) > MAX_FLOAT_SHARE * len(all_nodes):
            share = f"{len(floats)} of {len(all_nodes)} nodes would stay float32, more than half"
            raise ExportError(f"{share}, and with fewer the quality is not kept. Use the float32 file.")
        static(prepared, path, images, settings, keep=sorted(floats))
        if accept(path):
            return _remedy(prepared, floats, len(all_nodes))
        count *= 2
    raise ExportError(
        f"the quality is not kept, no matter which of the {len(all_nodes)} nodes stay float32. "
        "Use the float32 file."
    )


def _nodes_of(tensors: Iterable[QuantisedTensor]) -> frozenset[str]:
    """Return the nodes that produce or consume any of the tensors."""
    return frozenset().union(*(tensor.nodes for tensor in tensors))


def _remedy(prepared: PreparedModel, floats: Collection[str], total: int) -> str:
    """Name the float32 nodes, in the order of the graph."""
    ordered = [node.name for node in onnx.load(str(prepared.path)).graph.node if node.name in floats]
    names = ", ".join(ordered[:MAX_NAMES])
    if len(ordered) > MAX_NAMES:
        names += " ..."
    return f"{len(floats)} of {total} nodes left float32: {names}"


def _quantised_tensors(model: onnx.ModelProto) -> list[QuantisedTensor]:
    """Return the activations that a QDQ graph rounds."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers: dict[str, str] = {}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.output:
            producers[name] = node.name
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    tensors = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants:
            continue
        source = node.input[0]
        scale = float(numpy_helper.to_array(constants[node.input[1]]))
        zero = numpy_helper.to_array(constants[node.input[2]])
        integers = np.iinfo(zero.dtype)
        nodes = {producers[source]} if source in producers else set[str]()
        for dequantise in consumers.get(node.output[0], []):
            for consumer in consumers.get(dequantise.output[0], []):
                if consumer.op_type not in ("QuantizeLinear", "Shape"):
                    nodes.add(consumer.name)
        # The quantiser inserts the pair before an output of the graph, which keeps its name.
        name = source.removesuffix("_QuantizeLinear_Input")
        lowest = scale * (integers.min - int(zero))
        highest = scale * (integers.max - int(zero))
        tensors.append(QuantisedTensor(name, lowest, highest, frozenset(nodes)))
    return tensors


def _damage(prepared: PreparedModel, tensors: list[QuantisedTensor], images: Images) -> dict[str, float]:
    """Return for each tensor the mean share of a channel's power that its rounding error reaches, 0 to 1.

    The share is computed per channel. A channel of large values makes the steps too coarse for the other
    channels, which ruins a network; over the whole tensor this is invisible, since the large values are most
    of its power. It is measured on the float32 file, where the error of one tensor does not yet include those
    before it. Weights have a range per channel, so their channels do not affect each other.
    """
    import onnxruntime

    model = onnx.load(str(prepared.path))
    inputs = {value.name for value in model.graph.input}
    inner = [tensor.name for tensor in tensors if tensor.name not in inputs]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    signal: dict[str, list[Powers]] = {tensor.name: [] for tensor in tensors}
    noise: dict[str, list[Powers]] = {tensor.name: [] for tensor in tensors}
    for image in images:
        batch = image[None]
        values = dict(zip(inner, session.run(None, {input_name: batch}), strict=True))
        values[input_name] = batch
        for tensor in tensors:
            power, error = _channel_powers(values[tensor.name], tensor)
            signal[tensor.name].append(power)
            noise[tensor.name].append(error)
    return {
        name: _noise_share(np.mean(signal[name], axis=0), np.mean(noise[name], axis=0)) for name in signal
    }


def _channel_powers(values: NDArray[np.float32], tensor: QuantisedTensor) -> tuple[Powers, Powers]:
    """Return the power of each channel, and that of its rounding error."""
    step = (tensor.highest - tensor.lowest) / 255
    # Values outside the range are those that an activation cuts off which the quantiser has merged into the
    # tensor.
    exact = np.clip(values, tensor.lowest, tensor.highest).astype(np.float64)
    channel_first = np.moveaxis(exact, 1, 0) if exact.ndim >= 2 else exact[None]
    channels = channel_first.reshape(len(channel_first), -1)
    rounded = np.round(channels / step) * step
    return np.square(channels).mean(axis=1), np.square(channels - rounded).mean(axis=1)


def _noise_share(signal: Powers, noise: Powers) -> float:
    """Return the mean over channels of noise / signal, at most 1 each; a channel of zeros counts 0."""
    ratio = np.divide(noise, signal, out=np.zeros_like(noise), where=signal > 0)
    return float(np.minimum(ratio, 1.0).mean())


def _agreement_check(prepared: PreparedModel, images: Images) -> Callable[[Path], bool]:
    """Return a check that a file decides on the images as the float32 file does."""
    expected = _logits(prepared.float32_path, images)
    task = task_of()
    return lambda path: bool(task.agree(_logits(path, images), expected).mean() >= MIN_AGREEMENT)


def _logits(path: Path, images: Images) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])
