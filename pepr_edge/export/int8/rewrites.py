"""Exact rewrites of a float32 graph into operators for which onnxruntime has fast integer kernels.

Each computes the same numbers up to rounding, so the rewritten graph is still the float32 model. The reasons
are those of onnxruntime's processor kernels (docs/decisions/integer-kernels.md): a mean over the image is not
computed on integers but global pooling is, average pooling only in the slower layout, and so on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from pepr_edge.export.int8.activations import add_hard_swishes, fold_gates, fuse_gelu, fuse_silu
from pepr_edge.export.int8.graph import Array, Graph, attribute, is_depthwise, set_attribute
from pepr_edge.export.int8.linear import join_linear
from pepr_edge.export.int8.padding import pad_channels
from pepr_edge.export.int8.sizes import fix_reshapes, fix_sizes, merge_pads
from pepr_edge.export.int8.tokens import transpose_images

Rewrite = Callable[[Graph], int]
# A grouped convolution becomes an ordinary one with zeros if that multiplies its products by at most this.
# onnxruntime's integer kernel for groups was measured about 200 times slower per product than the ordinary.
MAX_GROUPS = 64
MAX_DENSE_WEIGHTS = 1 << 21  # of a convolution without its groups: more no longer fit the processor's cache
STEM_CHANNELS = 4  # input channels that the integer kernel takes at a time


def rewrite(model: onnx.ModelProto) -> tuple[Graph, dict[str, int]]:
    """Return the graph of a model after all rewrites, and how often each applied, if it did.

    Raises:
        ValueError: the graph has branches or loops.
    """
    counts = {}
    for steps in (SIZE_REWRITES, REWRITES):
        graph = Graph(model)  # with the shapes as they are known now
        for name, step in steps.items():
            counts[name] = step(graph)
        model = graph.save()
    return Graph(model), {name: count for name, count in counts.items() if count}


def pool_means(graph: Graph) -> int:
    """Replace the mean over height and width by global average pooling."""
    count = 0
    for node in list(graph.nodes):
        if node.op_type == "ReduceMean" and _is_spatial_mean(graph, node):
            pool = helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name)
            graph.replace([node], [pool])
            count += 1
    return count


def _is_spatial_mean(graph: Graph, node: onnx.NodeProto) -> bool:
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1:
        constant = graph.constant(node.input[1])
        axes = None if constant is None else constant.tolist()
    if axes is None or len(graph.shape(node.input[0])) != 4 or not attribute(node, "keepdims", 1):
        return False
    return sorted(axis % 4 for axis in axes) == [2, 3]


def convolve_averages(graph: Graph) -> int:
    """Replace average pooling by a depthwise convolution with equal weights."""
    count = 0
    for node in list(graph.nodes):
        channels = _channels(graph, node.input[0]) if node.op_type == "AveragePool" else 0
        if not channels or _is_cut_off(graph, node) or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
            continue
        padded = any(attribute(node, "pads", [0]))
        if padded and not attribute(node, "count_include_pad", 0):
            continue
        kernel = attribute(node, "kernel_shape")
        if len(kernel) != 2:
            continue
        weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
        name = graph.add_constant(f"{node.name}.weight", weight)
        bias = graph.add_constant(f"{node.name}.bias", np.zeros(channels, np.float32))
        convolution = helper.make_node(
            "Conv",
            [node.input[0], name, bias],
            node.output,
            node.name,
            group=channels,
            kernel_shape=kernel,
            strides=attribute(node, "strides", [1, 1]),
            pads=attribute(node, "pads", [0, 0, 0, 0]),
        )
        graph.replace([node], [convolution])
        count += 1
    return count


def _is_cut_off(graph: Graph, node: onnx.NodeProto) -> bool:
    """True if the last window of a pool reaches beyond the image, which rounding its size up allows."""
    if not attribute(node, "ceil_mode", 0):
        return False
    sizes = graph.shape(node.input[0])[2:]
    kernel = attribute(node, "kernel_shape")
    strides = attribute(node, "strides", [1, 1])
    pads = attribute(node, "pads", [0, 0, 0, 0])
    rests = [
        (size + pads[axis] + pads[axis + 2] - kernel[axis]) % strides[axis] for axis, size in enumerate(sizes)
    ]
    return any(rests) or 0 in sizes


def convolve_normalisations(graph: Graph) -> int:
    """Replace a batch normalisation that follows no convolution by a depthwise convolution of one pixel."""
    count = 0
    for node in list(graph.nodes):
        if (
            node.op_type != "BatchNormalization"
            or len(graph.shape(node.input[0])) != 4
            or len(node.output) > 1
        ):
            continue
        values = [graph.constant(name) for name in node.input[1:5]]
        if any(value is None for value in values):
            continue
        scale, shift, mean, variance = (np.asarray(value, np.float64) for value in values)
        factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        weight = factor.astype(np.float32).reshape(-1, 1, 1, 1)
        names = [
            node.input[0],
            graph.add_constant(f"{node.name}.weight", weight),
            graph.add_constant(f"{node.name}.bias", (shift - mean * factor).astype(np.float32)),
        ]
        convolution = helper.make_node(
            "Conv", names, node.output, node.name, group=len(weight), kernel_shape=[1, 1]
        )
        graph.replace([node], [convolution])
        count += 1
    return count


def join_groups(graph: Graph) -> int:
    """Replace a grouped convolution by an ordinary one whose weights between groups are zero."""
    count = 0
    for node in list(graph.nodes):
        weight = graph.constant(node.input[1]) if node.op_type == "Conv" else None
        groups = attribute(node, "group", 1)
        if weight is None or weight.ndim != 4 or not 1 < groups <= MAX_GROUPS or is_depthwise(graph, node):
            continue
        if weight.size * groups > MAX_DENSE_WEIGHTS:
            continue
        name = graph.add_constant(f"{node.input[1]}_dense", _without_groups(weight, groups))
        graph.set_inputs(node, [node.input[0], name, *node.input[2:]])
        set_attribute(node, "group", 1)
        count += 1
    return count


def _without_groups(weight: Array, groups: int) -> Array:
    outputs, inputs = weight.shape[:2]
    dense = np.zeros((outputs, inputs * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense


def fold_pixels(graph: Graph) -> int:
    """Let a first convolution with stride read blocks of pixels as channels, so that it has enough."""
    count = 0
    for node in list(graph.nodes):
        stride = _stem_stride(graph, node)
        if stride < 2:
            continue
        weight = graph.constant(node.input[1])
        assert weight is not None
        begin_top, begin_left = attribute(node, "pads", [0, 0, 0, 0])[:2]
        folded, pads_top = _fold_axis(weight, 2, stride, begin_top)
        folded, pads_left = _fold_axis(folded, 3, stride, begin_left)
        blocks = graph.new_name(f"{node.name}.blocks")
        new = _space_to_depth(graph, node.input[0], blocks, stride)
        name = graph.add_constant(f"{node.input[1]}_folded", _merge_blocks(folded, stride))
        height, width = graph.shape(node.input[0])[2:]
        out_height, out_width = graph.shape(node.output[0])[2:]
        pads_bottom = out_height - 1 + folded.shape[2] // stride - pads_top - height // stride
        pads_right = out_width - 1 + folded.shape[3] // stride - pads_left - width // stride
        convolution = helper.make_node(
            "Conv",
            [blocks, name, *node.input[2:]],
            node.output,
            node.name,
            kernel_shape=[folded.shape[2] // stride, folded.shape[3] // stride],
            strides=[1, 1],
            pads=[pads_top, pads_left, max(0, pads_bottom), max(0, pads_right)],
        )
        graph.replace([node], [*new, convolution])
        count += 1
    return count


def _stem_stride(graph: Graph, node: onnx.NodeProto) -> int:
    """Return the stride of a convolution that reads the image and can be folded, else 0."""
    if node.op_type != "Conv" or node.input[0] not in graph.inputs:
        return 0
    weight = graph.constant(node.input[1])
    shape = graph.shape(node.input[0])
    out_shape = graph.shape(node.output[0])
    strides = attribute(node, "strides", [1, 1])
    if weight is None or len(shape) != 4 or len(out_shape) != 4 or strides[0] != strides[1]:
        return 0
    plain = attribute(node, "group", 1) == 1 and all(step == 1 for step in attribute(node, "dilations", [1]))
    if (
        not plain
        or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"
        or weight.shape[1] % STEM_CHANNELS == 0
    ):
        return 0
    stride = int(strides[0])
    return stride if shape[2] % stride == 0 and shape[3] % stride == 0 and min(out_shape[2:]) > 0 else 0


def _fold_axis(weight: Array, axis: int, stride: int, begin: int) -> tuple[Array, int]:
    """Pad a kernel axis with zeros to whole blocks; return it with the padding of the image in blocks."""
    before = -begin % stride
    after = -(weight.shape[axis] + before) % stride
    padding = [(0, 0)] * weight.ndim
    padding[axis] = (before, after)
    return np.pad(weight, padding), (begin + before) // stride


def _merge_blocks(weight: Array, stride: int) -> Array:
    """Move the positions in a block from the kernel to the input channels, as SpaceToDepth does."""
    outputs, inputs, height, width = weight.shape
    split = weight.reshape(outputs, inputs, height // stride, stride, width // stride, stride)
    merged = split.transpose(0, 3, 5, 1, 2, 4)
    return np.asarray(merged.reshape(outputs, stride**2 * inputs, height // stride, width // stride))


def _space_to_depth(graph: Graph, image: str, blocks: str, stride: int) -> list[onnx.NodeProto]:
    batch, channels, height, width = graph.shape(image)
    graph.set_shape(blocks, (batch, channels * stride**2, height // stride, width // stride))
    return [
        helper.make_node(
            "SpaceToDepth", [image], [blocks], graph.new_name(f"{blocks}.fold"), blocksize=stride
        )
    ]


def _channels(graph: Graph, name: str) -> int:
    """Return the number of channels of a tensor of four dimensions, 0 if it is not known."""
    shape = graph.shape(name)
    return shape[1] if len(shape) == 4 else 0


SIZE_REWRITES: dict[str, Rewrite] = {
    "sizes fixed": fix_sizes,
    "reshapes fixed": fix_reshapes,
    "pads merged": merge_pads,
}
# In this order: joined groups are ordinary convolutions, whose channels are then padded.
REWRITES: dict[str, Rewrite] = {
    "means pooled": pool_means,
    "average pools as convolutions": convolve_averages,
    "normalisations as convolutions": convolve_normalisations,
    "groups joined": join_groups,
    "pixels folded": fold_pixels,
    "gates folded": fold_gates,
    "hard swishes": add_hard_swishes,
    "GELUs fused": fuse_gelu,
    "SiLUs fused": fuse_silu,
    "tokens transposed as images": transpose_images,
    "linear layers joined": join_linear,
    "channels padded": pad_channels,
}
