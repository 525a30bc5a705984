"""The rewrites for integer kernels: what each makes of its layer, and that the outputs stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from int8_nets import IMAGE, Net, graph_of, kinds, run, same, weights

from pepr_edge.export.int8 import activations, equalise, linear, placement, rewrites, sizes, tokens
from pepr_edge.export.int8.graph import Graph, attribute

Step = Callable[[Graph], int]


def applied(step: Step, net: Net, result: str) -> tuple[int, onnx.ModelProto]:
    """Apply a rewrite to a net; the outputs must stay the same."""
    before = net.model(result)
    graph = graph_of(before)
    count = step(graph)
    after = graph.save()
    onnx.checker.check_model(after)
    assert same(before, after, net.images())
    return count, after


def test_a_mean_over_the_image_becomes_global_pooling() -> None:
    net = Net()
    mean = net.node("ReduceMean", [net.conv(IMAGE, 3, 8)], axes=[2, 3], keepdims=1)
    count, after = applied(rewrites.pool_means, net, net.conv(mean, 8, 4))
    assert count == 1
    assert kinds(after) == ["Conv", "Conv", "GlobalAveragePool"]


@pytest.mark.parametrize("options", [{"axes": [1], "keepdims": 1}, {"axes": [2, 3], "keepdims": 0}])
def test_other_means_stay(options: dict[str, Any]) -> None:
    net = Net()
    result = net.node("ReduceMean", [net.conv(IMAGE, 3, 8)], **options)
    graph = graph_of(net.model(result)) if options["keepdims"] else None
    if graph is None:
        flat = net.node("Gemm", [result, net.constant(np.ones((8, 2), np.float32))])
        graph = graph_of(net.model(flat))
    assert rewrites.pool_means(graph) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kernel_shape": [2, 2], "strides": [2, 2]}, 1),
        ({"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 1),
        ({"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}, 0),
        ({"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 1),
        ({"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, 0),
    ],
)
def test_an_average_pool_becomes_a_depthwise_convolution(options: dict[str, Any], expected: int) -> None:
    """Where every window has the same number of pixels."""
    net = Net()
    count, after = applied(
        rewrites.convolve_averages, net, net.node("AveragePool", [net.conv(IMAGE, 3, 8)], **options)
    )
    assert count == expected
    assert kinds(after).count("Conv") == 1 + expected


def test_a_lone_batch_normalisation_becomes_a_depthwise_convolution() -> None:
    net = Net()
    joined = net.node("Concat", [net.conv(IMAGE, 3, 8), net.conv(IMAGE, 3, 4)], axis=1)
    values = [net.constant(net.rng.uniform(0.5, 2, 12).astype(np.float32)) for _ in range(4)]
    result = net.relu(net.node("BatchNormalization", [joined, *values], epsilon=1e-3))
    count, after = applied(rewrites.convolve_normalisations, net, net.conv(result, 12, 4))
    assert count == 1
    assert [weight.shape[:2] for weight in weights(after)] == [(8, 3), (4, 3), (12, 1), (4, 12)]


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (16, 2)])
def test_groups_are_joined(channels: int, groups: int) -> None:
    net = Net()
    result = net.conv(net.conv(IMAGE, 3, channels), channels, channels, 3, groups)
    count, after = applied(rewrites.join_groups, net, result)
    assert count == 1
    joined = weights(after)[1]
    assert joined.shape == (channels, channels, 3, 3)
    assert np.mean(joined == 0) == pytest.approx(1 - 1 / groups)


def test_a_depthwise_convolution_keeps_its_groups() -> None:
    net = Net()
    count, after = applied(rewrites.join_groups, net, net.depthwise(net.conv(IMAGE, 3, 8), 8))
    assert count == 0
    assert attribute(after.graph.node[1], "group") == 8


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        (3, 2, [1, 1, 1, 1]),
        (3, 2, [0, 0, 1, 1]),
        (7, 2, [3, 3, 3, 3]),
        (2, 2, [0, 0, 0, 0]),
        (4, 4, [0, 0, 0, 0]),
        (7, 4, [3, 3, 3, 3]),
        (3, 2, [0, 1, 0, 1]),
    ],
)
def test_a_first_convolution_with_stride_reads_blocks_of_pixels(
    channels: int, kernel: int, stride: int, pads: list[int]
) -> None:
    net = Net(channels)
    result = net.conv(IMAGE, channels, 8, kernel, strides=[stride, stride], pads=pads)
    count, after = applied(rewrites.fold_pixels, net, result)
    assert count == 1
    assert weights(after)[0].shape[1] == channels * stride**2
    assert kinds(after) == ["Conv", "SpaceToDepth"]


@pytest.mark.parametrize(
    ("channels", "px", "options"),
    [(3, 16, {}), (4, 16, {"strides": [2, 2]}), (3, 15, {"strides": [2, 2]}), (3, 16, {"strides": [2, 1]})],
)
def test_other_first_convolutions_stay(channels: int, px: int, options: dict[str, Any]) -> None:
    net = Net(channels, px)
    count, _ = applied(rewrites.fold_pixels, net, net.conv(IMAGE, channels, 8, 3, **options))
    assert count == 0


def test_a_hard_sigmoid_after_a_convolution_becomes_a_clip() -> None:
    net = Net()
    gate = net.node("HardSigmoid", [net.conv(IMAGE, 3, 8)], alpha=1 / 6, beta=0.5)
    count, after = applied(activations.fold_gates, net, net.conv(gate, 8, 4))
    assert count == 1
    assert kinds(after) == ["Clip", "Conv", "Conv"]


def test_a_convolution_whose_bias_is_computed_keeps_its_hard_sigmoid() -> None:
    net = Net()
    bias = net.node("Sqrt", [net.constant(np.arange(8, dtype=np.float32))])
    weight = net.constant(net.rng.normal(size=(8, 3, 1, 1)).astype(np.float32))
    gate = net.node("HardSigmoid", [net.node("Conv", [IMAGE, weight, bias])], alpha=1 / 6, beta=0.5)
    count, _ = applied(activations.fold_gates, net, net.conv(gate, 8, 4))
    assert count == 0


@pytest.mark.parametrize("is_one_operator", [True, False])
def test_a_hard_swish_becomes_an_addition_and_a_product(is_one_operator: bool) -> None:
    net = Net()
    source = net.node("Mul", [net.conv(IMAGE, 3, 8), net.constant(np.float32(4))])
    if is_one_operator:
        swish = net.node("HardSwish", [source])
    else:
        swish = net.node("Mul", [source, net.node("HardSigmoid", [source], alpha=1 / 6, beta=0.5)])
    count, after = applied(activations.add_hard_swishes, net, net.conv(swish, 8, 4))
    assert count == 1
    assert kinds(after) == ["Add", "Clip", "Conv", "Conv", "Mul", "Mul", "Mul"]


@pytest.mark.parametrize("half_first", [True, False])
def test_a_gelu_is_fused(half_first: bool) -> None:
    net = Net()
    source = net.conv(IMAGE, 3, 8)
    half = net.constant(np.float32(0.5))
    erf = net.node("Erf", [net.node("Div", [source, net.constant(np.float32(np.sqrt(2)))])])
    plus = net.node("Add", [erf, net.constant(np.float32(1))])
    if half_first:
        gelu = net.node("Mul", [source, net.node("Mul", [plus, half])])
    else:
        gelu = net.node("Mul", [net.node("Mul", [source, plus]), half])
    result = net.conv(gelu, 8, 4)
    before = net.model(result)
    graph = graph_of(before)
    assert activations.fuse_gelu(graph) == 1
    after = graph.save()
    assert kinds(after) == ["Conv", "Conv", "Gelu"]
    assert same(before, after, net.images())


def test_a_gelu_whose_scaled_input_is_read_elsewhere_stays() -> None:
    net = Net()
    source = net.conv(IMAGE, 3, 8)
    scaled = net.node("Div", [source, net.constant(np.float32(np.sqrt(2)))])
    plus = net.node("Add", [net.node("Erf", [scaled]), net.constant(np.float32(1))])
    gelu = net.node("Mul", [net.node("Mul", [source, plus]), net.constant(np.float32(0.5))])
    count, _ = applied(activations.fuse_gelu, net, net.conv(net.node("Add", [gelu, scaled]), 8, 4))
    assert count == 0


@pytest.mark.parametrize("gate_first", [True, False])
def test_a_swish_is_fused_and_alone_stays_float32(gate_first: bool) -> None:
    """What follows it, such as the pooling of a gate, computes on integers."""
    net = Net()
    source = net.conv(IMAGE, 3, 16)
    sigmoid = net.node("Sigmoid", [source])
    swish = net.node("Mul", [sigmoid, source] if gate_first else [source, sigmoid])
    gate = net.node("Sigmoid", [net.conv(net.node("GlobalAveragePool", [swish]), 16, 16)])
    result = net.conv(net.node("Mul", [swish, gate]), 16, 16)
    before = net.model(result)
    graph = graph_of(before)
    assert activations.fuse_silu(graph) == 1
    after = graph.save()
    assert kinds(after) == ["Conv", "Conv", "Conv", "GlobalAveragePool", "Mul", "QuickGelu", "Sigmoid"]
    assert same(before, after, net.images())
    (fused,) = [node.name for node in after.graph.node if node.op_type == "QuickGelu"]
    first = after.graph.node[0].name  # reads an image of three channels
    assert placement.float_nodes(graph) - {first} == {fused}


def test_shapes_are_known_behind_the_activations_of_onnxruntime() -> None:
    """Padding and equalisation need them; onnx does not know these operators."""
    net = Net()
    source = net.conv(IMAGE, 3, 20, 3)
    swish = net.node("Mul", [source, net.node("Sigmoid", [source])])
    deep = net.depthwise(swish, 20)
    result = net.conv(net.relu(net.conv(deep, 20, 24)), 24, 16)
    before = net.model(result)
    graph, rewritten = rewrites.rewrite(net.model(result))
    assert {"SiLUs fused", "channels padded"} <= set(rewritten)
    assert all(graph.shape(name) for node in graph.nodes for name in node.output)
    assert any(not link.fixed for link in equalise.links(graph))
    assert same(before, graph.save(), net.images())


def test_a_product_with_another_sigmoid_is_no_swish() -> None:
    net = Net()
    source = net.conv(IMAGE, 3, 8)
    sigmoid = net.node("Sigmoid", [source])
    read_twice = net.node("Add", [net.node("Mul", [source, sigmoid]), sigmoid])
    other = net.node("Mul", [net.conv(IMAGE, 3, 8), net.node("Sigmoid", [read_twice])])
    count, _ = applied(activations.fuse_silu, net, net.conv(other, 8, 4))
    assert count == 0


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_linear_layer_becomes_gemm_with_its_bias(with_bias: bool) -> None:
    net = Net()
    tokens = net.node("Reshape", [net.conv(IMAGE, 3, 8), net.constant(np.array([-1, 8, 256]))])
    tokens = net.node("Transpose", [tokens], perm=[0, 2, 1])
    weight = net.rng.normal(size=(8, 5)).astype(np.float32)
    product = net.node("MatMul", [tokens, net.constant(weight)])
    if with_bias:
        product = net.node("Add", [net.constant(np.arange(5, dtype=np.float32)), product])
    result = net.node("Reshape", [product, net.constant(np.array([-1, 16, 16, 5]))])
    count, after = applied(linear.join_linear, net, result)
    assert count == 1
    assert "MatMul" not in kinds(after)
    assert "Add" not in kinds(after)
    assert kinds(after).count("Gemm") == 1


@pytest.mark.parametrize("shape", [(8, 1), (1, 8, 1)])
def test_a_column_that_is_added_is_no_bias(shape: tuple[int, ...]) -> None:
    """It has as many values as a bias, one for each row of the result."""
    net = Net()
    rows = net.node("Reshape", [net.conv(IMAGE, 3, 8), net.constant(np.array([-1, 8, 256]))])
    product = net.node("MatMul", [rows, net.constant(net.rng.normal(size=(256, 8)).astype(np.float32))])
    column = net.constant(np.arange(8, dtype=np.float32).reshape(shape))
    total = net.node("Add", [product, column])
    result = net.node("Reshape", [total, net.constant(np.array([-1, 1, 8, 8]))])
    count, after = applied(linear.join_linear, net, result)
    assert count == 1
    assert "Add" in kinds(after)


def test_a_product_of_two_tensors_stays() -> None:
    net = Net()
    tokens = net.node("Reshape", [net.conv(IMAGE, 3, 8), net.constant(np.array([-1, 8, 256]))])
    product = net.node("MatMul", [net.node("Transpose", [tokens], perm=[0, 2, 1]), tokens])
    result = net.node("Reshape", [product, net.constant(np.array([-1, 1, 256, 256]))])
    count, _ = applied(linear.join_linear, net, result)
    assert count == 0


def as_tokens(net: Net, image: str, channels: int, px: int = 16) -> str:
    rows = net.node("Reshape", [image, net.constant(np.array([-1, channels, px * px]))])
    return net.node("Transpose", [rows], perm=[0, 2, 1])


def as_image(net: Net, source: str, channels: int, px: int = 16) -> str:
    columns = net.node("Transpose", [source], perm=[0, 2, 1])
    return net.node("Reshape", [columns, net.constant(np.array([-1, channels, px, px]))])


def test_images_are_transposed_instead_of_tokens() -> None:
    """The reshape moves to the tokens, so that a transposition of an image stands beside the convolution."""
    net = Net()
    normed = net.node("Softmax", [as_tokens(net, net.conv(IMAGE, 3, 8), 8)], axis=2)
    count, after = applied(tokens.transpose_images, net, net.conv(as_image(net, normed, 8), 8, 4))
    assert count == 2
    steps = [(node.op_type, attribute(node, "perm")) for node in after.graph.node]
    assert steps == [
        ("Conv", None),
        ("Transpose", [0, 2, 3, 1]),
        ("Reshape", None),
        ("Softmax", None),
        ("Reshape", None),
        ("Transpose", [0, 3, 1, 2]),
        ("Conv", None),
    ]


def _sizes_swapped(net: Net) -> str:
    """Channels are read as rows: the reshape does not give an image of the tokens."""
    columns = net.node("Transpose", [as_tokens(net, net.conv(IMAGE, 3, 8), 8)], perm=[0, 2, 1])
    return net.node("Reshape", [columns, net.constant(np.array([-1, 16, 8, 16]))])


def _read_twice(net: Net) -> str:
    """The transposed tokens are read by two nodes."""
    softened = net.node("Softmax", [as_tokens(net, net.conv(IMAGE, 3, 8), 8)], axis=2)
    columns = net.node("Transpose", [softened], perm=[0, 2, 1])
    shape = net.constant(np.array([-1, 8, 16, 16]))
    first = net.node("Reshape", [columns, shape])
    return net.node("Add", [first, net.node("Reshape", [net.node("Relu", [columns]), shape])])


def _moved_only(net: Net) -> str:
    """The rows of a picture and its columns change places: nothing becomes tokens."""
    rows = net.node("Reshape", [net.conv(IMAGE, 3, 8), net.constant(np.array([-1, 8 * 16, 16]))])
    columns = net.node("Transpose", [rows], perm=[0, 2, 1])
    return net.node("Reshape", [columns, net.constant(np.array([-1, 8, 16, 16]))])


@pytest.mark.parametrize(
    ("build", "expected"),
    [(_sizes_swapped, 1), (_read_twice, 1), (_moved_only, 0)],
    ids=["other sizes", "read twice", "no tokens"],
)
def test_other_transpositions_stay(build: Callable[[Net], str], expected: int) -> None:
    """Where tokens are made first, only that is changed."""
    net = Net()
    count, _ = applied(tokens.transpose_images, net, build(net))
    assert count == expected


def padded_like_tensorflow(net: Net, source: str) -> str:
    """A convolution with stride whose padding the graph computes from the size of the image."""
    height = net.node("Gather", [net.node("Shape", [source]), net.constant(np.array(2))])
    blocks = net.node("Add", [height, net.constant(np.array(1))])
    amount = net.node("Sub", [blocks, height])
    end = net.node("Unsqueeze", [amount, net.constant(np.array([0]))])
    zeros = net.constant(np.zeros(6, np.int64))
    pads = net.node("Concat", [zeros, end, end], axis=0)
    return net.node("Pad", [source, pads])


def test_a_computed_padding_becomes_that_of_the_convolution() -> None:
    net = Net()
    padded = padded_like_tensorflow(net, net.conv(IMAGE, 3, 8))
    result = net.conv(padded, 8, 4, 3, strides=[2, 2], pads=[0, 0, 0, 0])
    before = net.model(result)
    graph = graph_of(before)
    assert sizes.fix_sizes(graph) == 1
    graph = Graph(graph.save())
    assert sizes.merge_pads(graph) == 1
    after = graph.save()
    assert kinds(after) == ["Conv", "Conv"]
    assert attribute(after.graph.node[1], "pads") == [0, 0, 1, 1]
    assert same(before, after, net.images())


def test_a_size_that_depends_on_the_batch_is_not_fixed() -> None:
    net = Net()
    source = net.conv(IMAGE, 3, 8)
    batch = net.node("Gather", [net.node("Shape", [source]), net.constant(np.array([0]))])
    target = net.node("Concat", [batch, net.constant(np.array([4, 2, 256]))], axis=0)
    result = net.node("Reshape", [source, target])
    before = net.model(result)
    graph = graph_of(before)
    assert sizes.fix_sizes(graph) == 0
    assert sizes.fix_reshapes(graph) == 1
    after = graph.save()
    assert kinds(after) == ["Conv", "Reshape"]
    assert same(before, after, net.images())


def test_all_rewrites_together_say_what_they_did() -> None:
    net = Net()
    stem = net.relu(net.conv(IMAGE, 3, 24, 3, strides=[2, 2]))
    deep = net.relu(net.depthwise(stem, 24))
    mean = net.node("ReduceMean", [deep], axes=[2, 3], keepdims=1)
    gated = net.node("Mul", [deep, net.node("HardSigmoid", [net.conv(mean, 24, 24)], alpha=1 / 6, beta=0.5)])
    before = net.model(net.head(net.conv(gated, 24, 16), 16))
    expected = run(before, net.images())
    graph, counts = rewrites.rewrite(before)
    assert counts == {
        "means pooled": 1,
        "pixels folded": 1,
        "gates folded": 1,
        "channels padded": counts["channels padded"],
    }
    assert counts["channels padded"] > 0
    np.testing.assert_allclose(run(graph.save(), net.images()), expected, atol=1e-5)
