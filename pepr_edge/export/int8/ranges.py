"""Choose the range of each tensor that is rounded to 8 bits: that with the least error where it matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from pepr_edge.export.int8.graph import GELU, SILU, Graph, is_depthwise
from pepr_edge.export.int8.statistics import TensorStatistics

LEVELS = 255
# Candidates for an end of a range, as shares of the extreme value on the images.
SHARES = tuple(
    float(share) for share in np.concatenate([np.linspace(1, 0.5, 21), np.geomspace(0.45, 0.02, 16)])
)
ROUNDS = 2  # over both ends in turn
MIN_PIXELS = 16  # different values of a tensor that is taken for pixels
MAX_COPIES = 4  # of a pixel's value, as float32 rounds it
SAME_VALUE = 1e-5  # of the whole range: nearer values are the same pixel
MAX_UNEVEN = 0.02  # of a step
MAX_SHIFT = 0.4  # of a step, between zero and the nearest pixel
MAX_VALUES = 1 << 15  # of a sample, that are looked at
Range = tuple[float, float]
Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def choose(graph: Graph, statistics: Mapping[str, TensorStatistics]) -> dict[str, Range]:
    """Return the range of each tensor with the least mean square error.

    An error counts by what it does to the next layer: by the power of the weights that multiply a channel,
    and after the activation if only an activation reads the tensor.
    """
    limits = {}
    for name, found in statistics.items():
        limits[name] = _pixel_range(found) or _best(graph, name, found)
    return limits


def _pixel_range(found: TensorStatistics) -> Range | None:
    """Return the range whose 256 steps are the values of pixels; None for other tensors.

    Pixels are whole numbers from 0 to 255. With their distance in the tensor as the step, rounding only
    shifts all of them alike, which `bias.correct` takes away.
    """
    values = np.unique(found.sample.astype(np.float64))
    if len(values) < MIN_PIXELS or len(values) > (LEVELS + 1) * MAX_COPIES:
        return None
    step = _step(values)
    if step is None:
        return None
    # Zero is a step. Pixels in the middle between two steps would be rounded up and down by chance.
    if abs(values[0] / step - np.round(values[0] / step)) > MAX_SHIFT:
        return None
    # The steps that no pixel of these images has lie half below and half above them.
    spare = LEVELS - round((values[-1] - values[0]) / step)
    low = min(float(values[0]) - (spare // 2) * step, 0.0)
    return low, low + LEVELS * step


def _step(values: NDArray[np.float64]) -> float | None:
    """Return the distance of evenly spaced, sorted values with at most 256 places; else None."""
    gaps = np.diff(values)
    span = float(values[-1] - values[0])
    distinct = gaps[gaps > span * SAME_VALUE]
    if not len(distinct):
        return None
    levels = span / float(distinct.min())
    if levels > LEVELS + 0.1:
        return None
    step = span / round(levels)
    uneven = np.abs(gaps / step - np.round(gaps / step)).max()
    return step if uneven < MAX_UNEVEN else None


def extremes(statistics: Mapping[str, TensorStatistics]) -> dict[str, Range]:
    """Return the range of each tensor from its lowest to its highest value, with zero in it."""
    return {
        name: (min(0.0, float(found.low.min())), max(0.0, float(found.high.max())))
        for name, found in statistics.items()
    }


def _best(graph: Graph, name: str, found: TensorStatistics) -> Range:
    low = min(0.0, float(found.low.min()))
    high = max(0.0, float(found.high.max()))
    if low == high:
        return low, high
    step = max(1, found.sample.size // MAX_VALUES)
    values = found.sample.astype(np.float64)[:, ::step]
    weights = _channel_weights(graph, name, len(values))
    function = _activation_of(graph, name)
    expected = function(values)

    def error(begin: float, end: float) -> float:
        change = function(rounded(values, (begin, end))) - expected
        return float(weights @ np.square(change).mean(axis=1))

    # The extremes themselves are always a candidate: rare values that the sample lacks may matter.
    best = error(low, high)
    chosen = (low, high)
    for _ in range(ROUNDS):
        for end in (1, 0):
            for share in SHARES:
                candidate = (low * share, chosen[1]) if end == 0 else (chosen[0], high * share)
                if candidate[0] == candidate[1]:
                    continue
                found_error = error(*candidate)
                if found_error < best:
                    best = found_error
                    chosen = candidate
    return chosen


def rounded(values: NDArray[np.float64], limits: Range) -> NDArray[np.float64]:
    """Return values after rounding to the 256 steps of a range, as QuantizeLinear does."""
    low, high = limits
    scale = (high - low) / LEVELS
    if scale <= 0:
        return np.zeros_like(values)
    zero = np.round(-low / scale)
    steps = np.clip(np.round(values / scale) + zero, 0, LEVELS) - zero
    return np.asarray(steps * scale)


def _channel_weights(graph: Graph, name: str, channels: int) -> NDArray[np.float64]:
    """Return how much an error in each channel counts, by the weights of all convolutions that read it."""
    total = np.zeros(channels)
    for reader in _readers(graph, name):
        weight = graph.constant(reader.input[1]) if reader.op_type in ("Conv", "Gemm", "MatMul") else None
        power = None
        if weight is not None and reader.op_type == "Conv":
            axis = 0 if is_depthwise(graph, reader) else 1
            power = np.square(np.moveaxis(weight, axis, 0).astype(np.float64)).reshape(weight.shape[axis], -1)
        elif weight is not None and weight.ndim == 2:
            rows = weight.T if weight.shape[0] != channels else weight
            power = np.square(rows.astype(np.float64))
        if power is not None and len(power) == channels:
            sums = power.sum(axis=1)
            total += sums / max(float(sums.mean()), 1e-30)
        else:
            total += 1.0
    return total / max(float(total.sum()), 1e-30) if total.any() else np.full(channels, 1 / max(channels, 1))


def _readers(graph: Graph, name: str) -> list[onnx.NodeProto]:
    """Return the nodes that read a tensor, looking through activations that keep its channels."""
    found = []
    for reader in graph.consumers(name):
        if reader.op_type in ("Relu", "Clip", "LeakyRelu"):
            found += _readers(graph, reader.output[0])
        else:
            found.append(reader)
    return found


def _activation_of(graph: Graph, name: str) -> Function:
    """Return the activation that alone reads a tensor, else the identity."""
    readers = graph.consumers(name)
    kinds = sorted(reader.op_type for reader in readers)
    if kinds == [SILU]:
        return lambda values: values / (1 + np.exp(-np.clip(values, -60, 60)))
    if kinds == ["Add", "Mul"]:
        addition = next(reader for reader in readers if reader.op_type == "Add")
        if any(graph.scalar(other) is not None for other in addition.input):
            return lambda values: values * np.clip(values + 3, 0, 6) / 6
    if kinds == [GELU]:
        return lambda values: values * 0.5 * (1 + np.tanh(0.7978845608 * (values + 0.044715 * values**3)))
    return lambda values: values
