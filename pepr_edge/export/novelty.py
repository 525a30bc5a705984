"""The second output of an ONNX file: how unlike the training images an image is.

The novelty is a Mahalanobis distance of the image itself: squared, from the mean of the training images, with
their shrunk covariance, divided by its mean over them. The image is seen as a grid of patches; of a large
image only every nth pixel is read. Of each patch there are four means, which tell where it is light and dark,
and a few random directions among the whitened ones of the training images' patches, which tell of its
texture. The distance of all of them together is estimated from random whitened directions. So it costs a
small convolution and a small matrix product.
Distances in the features before the classifier were measured, too, and see less (docs/refer.md).

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
Doubles = NDArray[np.float64]

NOVELTY = "novelty"
PREFIX = "pepr_novelty_"
FINE_PX = 32  # an image is seen with at most this many pixels on a side
PATCH_PX = 8
MEAN_PX = 4
TEXTURES = 8
DIRECTIONS = 64
# More training images, or patches, give no better covariance of this size, and cost time.
MAX_IMAGES = 2000
MAX_PATCHES = 8000
# Images that hardly differ still get a finite distance.
MIN_VARIANCE = 1e-6
SEED = 0


class Whitening(NamedTuple):
    """What turns an image into its novelty: the squared length of `patches(image)` @ `weight` + `bias`.

    `step`: n, if every nth pixel of a row or column is read. `kernels`: of the convolution on patches, shape
    (filters, channels, size, size). `weight`, `bias`: shapes (filters * patches, directions), (directions,).
    """

    step: int
    kernels: Floats
    weight: Floats
    bias: Floats


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
    images = to_tensor(np.asarray(pixels[:MAX_IMAGES]), spec)
    step = -(-spec.image_size_px // FINE_PX)
    generator = np.random.default_rng(SEED)
    kernels = _kernels(images[:, :, ::step, ::step].astype(np.float64), generator).astype(np.float32)
    none = np.zeros(0, np.float32)
    seen = patches(images, Whitening(step, kernels, none, none)).astype(np.float64)
    weight = _directions(seen, generator)
    bias = -seen.mean(axis=0) @ weight
    return Whitening(step, kernels, weight.astype(np.float32), bias.astype(np.float32))


def novelty_of(images: Floats, whitening: Whitening) -> Doubles:
    """Return the novelty of images as the file computes it, shape (n,).

    Args:
        images: the model's input, shape (n, channels, px, px).
    """
    lengths = patches(images, whitening) @ whitening.weight + whitening.bias
    return np.asarray((lengths.astype(np.float64) ** 2).sum(axis=1))


def patches(images: Floats, whitening: Whitening) -> Floats:
    """Return the filters' values on the patches of images, shape (n, filters * patches)."""
    filters, channels, size, _ = whitening.kernels.shape
    cut = _cut(images[:, :, :: whitening.step, :: whitening.step], size)
    n, grid = cut.shape[:2]
    values = cut.reshape(n, grid, channels * size * size) @ whitening.kernels.reshape(filters, -1).T
    return np.asarray(values.transpose(0, 2, 1).reshape(n, -1), dtype=np.float32)


def _cut(images: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the patches of images, shape (n, patches, channels, size, size); what fills none is left out."""
    n, channels, px, _ = images.shape
    side = px // size
    kept = images[:, :, : side * size, : side * size].reshape(n, channels, side, size, side, size)
    return np.asarray(kept.transpose(0, 2, 4, 1, 3, 5).reshape(n, side * side, channels, size, size))


def _kernels(images: Doubles, generator: np.random.Generator) -> Doubles:
    """Return the filters on patches, shape (filters, channels, PATCH_PX, PATCH_PX): means, then textures.

    Args:
        images: of at most FINE_PX on a side, shape (n, channels, side, side).
        generator: draws the textures.
    """
    channels = images.shape[1]
    means = np.zeros((channels, PATCH_PX // MEAN_PX, PATCH_PX // MEAN_PX, channels, PATCH_PX, PATCH_PX))
    for channel, row, column in np.ndindex(means.shape[:3]):
        rows = slice(row * MEAN_PX, (row + 1) * MEAN_PX)
        columns = slice(column * MEAN_PX, (column + 1) * MEAN_PX)
        means[channel, row, column, channel, rows, columns] = 1 / MEAN_PX**2
    flat = means.reshape(-1, channels * PATCH_PX**2)
    cut = _cut(images, PATCH_PX).reshape(-1, flat.shape[1])
    cut = cut[:: max(1, len(cut) // MAX_PATCHES)]
    drawn = whitened(cut - cut.mean(axis=0), generator.normal(size=(flat.shape[1], TEXTURES)))
    basis = np.linalg.qr(flat.T)[0]
    drawn -= basis @ (basis.T @ drawn)  # what the means tell already
    drawn /= np.linalg.norm(drawn, axis=0)
    return np.concatenate([flat, drawn.T]).reshape(-1, channels, PATCH_PX, PATCH_PX)


def _directions(values: Doubles, generator: np.random.Generator) -> Doubles:
    """Return whitened directions, shape (m, directions): the mean squared length of `values` in them is 1.

    Args:
        values: of training images, shape (n, m).
        generator: draws the directions.
    """
    centred = values - values.mean(axis=0)
    size = centred.shape[1]
    drawn = np.linalg.qr(generator.normal(size=(size, min(DIRECTIONS, size))))[0]
    weight = whitened(centred, drawn)
    usual = float(((centred @ weight) ** 2).sum(axis=1).mean())
    return np.asarray(weight / np.sqrt(max(usual, MIN_VARIANCE)))


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
    # They need the input alone. Runtimes that keep the order of a file find it in the processor's cache.
    nodes = [*_nodes(inputs[0].name, whitening, opset), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(whitening.kernels, f"{PREFIX}kernels"))
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
    step = whitening.step
    # The convolution itself leaves pixels out: a node that averages or cuts them first costs as much again.
    cut = helper.make_node(
        "Conv",
        [name, f"{PREFIX}kernels"],
        [f"{PREFIX}patches"],
        f"{PREFIX}cut",
        strides=[step * size for size in whitening.kernels.shape[2:]],
        dilations=[step, step],
    )
    nodes.append(cut)
    nodes.append(helper.make_node("Flatten", [f"{PREFIX}patches"], [f"{PREFIX}flat"], f"{PREFIX}flatten"))
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
