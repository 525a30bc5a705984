"""The second output of an ONNX file: how unlike the training images an image is.

The novelty is a Mahalanobis distance of the image itself, at two scales: averaged to at most 32 and at most 8
pixels on a side. At each scale it is squared, from the mean of the training images, with their shrunk
covariance, and divided by its mean over them; the novelty is the mean of both. Each distance is estimated
from a few directions drawn at random among the whitened ones, so that it costs some microseconds. Distances
in the features before the classifier were measured, too, and see less (docs/refer.md).

The nodes read the file's input alone and compute in float32, so they are the same in each variant of a model,
whatever is quantised, and leave its logits as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pepr_edge.errors import ExportError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.records import Preprocess

Floats = NDArray[np.float32]

NOVELTY = "novelty"
PREFIX = "pepr_novelty_"
FINE_PX = 32
COARSE_PX = 8
FINE_DIRECTIONS = 32
COARSE_DIRECTIONS = 32
# More training images give no better covariance of this many pixels, and cost time.
MAX_IMAGES = 2000
# Images that hardly differ still get a finite distance.
MIN_VARIANCE = 1e-6
SEED = 0


class Whitening(NamedTuple):
    """Directions in which the distance is measured.

    The novelty of a flattened, averaged image x is the squared length of x @ `weight` + `bias`; shapes
    (pixels, directions) and (directions,). `factor`: pixels of the input in one averaged pixel, on each side.
    """

    weight: Floats
    bias: Floats
    factor: int


def fit_novelty(pixels: NDArray[np.uint8], spec: Preprocess) -> Whitening:
    """Fit the distance on training images.

    Args:
        pixels: shape (n, px, px, channels), n >= 2; at most MAX_IMAGES of them are used.
        spec: how pixels become the input.
    Raises:
        ExportError: there are fewer images.
    """
    if len(pixels) < 2:
        raise ExportError(f"{len(pixels)} training images, expected at least 2 to know what is usual.")
    factor = _factor(spec.image_size_px, FINE_PX)
    fine = averaged(to_tensor(np.asarray(pixels[:MAX_IMAGES]), spec), factor).astype(np.float64)
    side = spec.image_size_px // factor
    shape = (len(fine), spec.channels, side, side)
    coarse_factor = _factor(side, COARSE_PX)
    coarse = averaged(fine.reshape(shape), coarse_factor)
    generator = np.random.default_rng(SEED)
    parts = [_directions(fine, FINE_DIRECTIONS, generator)]
    if coarse_factor > 1:
        parts.append(_spread(_directions(coarse, COARSE_DIRECTIONS, generator), shape[1:], coarse_factor))
    weight = np.concatenate(parts, axis=1) / np.sqrt(len(parts))
    bias = -fine.mean(axis=0) @ weight
    return Whitening(weight.astype(np.float32), bias.astype(np.float32), factor)


def _factor(px: int, max_px: int) -> int:
    """Return how many pixels on a side are averaged, so that at most `max_px` are left."""
    return -(-px // max_px)


def _directions(
    images: NDArray[np.float64], count: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return whitened directions, shape (pixels, m): the mean squared length of training images in them is 1.

    Args:
        images: flattened, shape (n, pixels).
        count: of directions, at most; no more than there are pixels.
        generator: draws the directions.
    """
    centred = images - images.mean(axis=0)
    pixels = centred.shape[1]
    drawn = np.linalg.qr(generator.normal(size=(pixels, min(count, pixels))))[0]
    weight = whitened(centred, drawn)
    usual = float(((centred @ weight) ** 2).sum(axis=1).mean())
    return np.asarray(weight / np.sqrt(max(usual, MIN_VARIANCE)))


def _spread(weight: NDArray[np.float64], shape: tuple[int, ...], factor: int) -> NDArray[np.float64]:
    """Return the directions of averaged images as those of the images before, shape (pixels, m).

    Args:
        weight: of images averaged over squares of `factor` pixels.
        shape: (channels, side, side) of the images before.
    """
    channels, side, _ = shape
    small = side // factor
    squares = weight.T.reshape(-1, channels, small, small).repeat(factor, axis=2).repeat(factor, axis=3)
    spread = np.zeros((len(squares), *shape))
    spread[:, :, : small * factor, : small * factor] = squares / factor**2
    return np.asarray(spread.reshape(len(squares), -1).T)


def averaged(images: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return images averaged over squares of `factor` pixels, flattened, shape (n, channels * side * side).

    Rows and columns that fill no square are left out, as by AveragePool.
    """
    n, channels, px, _ = images.shape
    side = px // factor
    kept = images[:, :, : side * factor, : side * factor]
    squares = kept.reshape(n, channels, side, factor, side, factor)
    return np.asarray(squares.mean(axis=(3, 5)).reshape(n, -1))


def whitened(centred: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return directions multiplied by the inverse square root of the shrunk covariance.

    Args:
        centred: images minus their mean, shape (n, pixels).
        directions: shape (pixels, m).
    Source of the shrinkage: Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional
    covariance matrices.
    """
    n, size = centred.shape
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / n
    mean = variances.sum() / size
    spread = ((variances - mean) ** 2).sum() + (size - len(variances)) * mean**2
    noise = ((centred**2).sum(axis=1) ** 2).sum() / n**2 - (variances**2).sum() / n
    shrinkage = float(np.clip(noise / spread, 0, 1)) if spread > 0 else 1.0
    rest = max(shrinkage * mean, MIN_VARIANCE)
    factors = 1 / np.sqrt((1 - shrinkage) * variances + rest) - 1 / np.sqrt(rest)
    return np.asarray(directions / np.sqrt(rest) + rows.T @ (factors[:, None] * (rows @ directions)))


def add_novelty(path: Path, whitening: Whitening) -> None:
    """Add the second output to a file.

    Raises:
        ExportError: the file is none with one input and one output.
    """
    model = onnx.load(str(path))
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ExportError(
            f"{path.name}: has {len(inputs)} inputs and {len(graph.output)} outputs, expected one of each."
        )
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    graph.node.extend(_nodes(inputs[0].name, whitening, opset))
    graph.initializer.append(numpy_helper.from_array(whitening.weight, f"{PREFIX}weight"))
    graph.initializer.append(numpy_helper.from_array(whitening.bias, f"{PREFIX}bias"))
    if opset >= AXES_AS_INPUT:
        graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), f"{PREFIX}axes"))
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    size = batch.dim_param or batch.dim_value or "batch"
    graph.output.append(helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, [size, 1]))
    part = path.with_name(f"{path.stem}.part.onnx")
    onnx.save(model, str(part))
    part.replace(path)


# From this opset on, a reduction takes its axes as an input.
AXES_AS_INPUT = 18


def _nodes(name: str, whitening: Whitening, opset: int) -> list[onnx.NodeProto]:
    """Return the nodes from the input to the novelty."""
    nodes = []
    if whitening.factor > 1:
        pooled = f"{PREFIX}pooled"
        size = [whitening.factor, whitening.factor]
        pool = helper.make_node(
            "AveragePool", [name], [pooled], f"{PREFIX}pool", kernel_shape=size, strides=size
        )
        nodes.append(pool)
        name = pooled
    nodes.append(helper.make_node("Flatten", [name], [f"{PREFIX}flat"], f"{PREFIX}flatten", axis=1))
    parts = [f"{PREFIX}flat", f"{PREFIX}weight", f"{PREFIX}bias"]
    nodes.append(helper.make_node("Gemm", parts, [f"{PREFIX}directions"], f"{PREFIX}whiten"))
    read = [f"{PREFIX}directions"]
    if opset >= AXES_AS_INPUT:
        read.append(f"{PREFIX}axes")
    square = helper.make_node("ReduceSumSquare", read, [NOVELTY], f"{PREFIX}square", keepdims=1)
    if opset < AXES_AS_INPUT:
        square.attribute.append(helper.make_attribute("axes", [1]))
    nodes.append(square)
    return nodes


def without_novelty(path: Path, target: Path) -> Path:
    """Return a file without the second output: the file itself if it has none, else a copy.

    Args:
        path: a file.
        target: of the copy.
    """
    model = onnx.load(str(path))
    graph = model.graph
    if NOVELTY not in [output.name for output in graph.output]:
        return path
    for nodes in (graph.node, graph.initializer):
        kept = [item for item in nodes if not item.name.startswith(PREFIX)]
        del nodes[:]
        nodes.extend(kept)
    outputs = [output for output in graph.output if output.name != NOVELTY]
    del graph.output[:]
    graph.output.extend(outputs)
    onnx.save(model, str(target))
    return target
