"""Padding of channels: where it is needed, what it keeps, and where it is left alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_nets import IMAGE, Net, graph_of, same, weights

from pepr_edge.export.int8.padding import pad_channels


def padded(net: Net, result: str) -> tuple[int, list[tuple[int, ...]]]:
    """Pad a net, whose outputs must stay the same; return how many tensors grew, and the weights' shapes."""
    before = net.model(result)
    graph = graph_of(before)
    count = pad_channels(graph)
    after = graph.save()
    onnx.checker.check_model(after)
    assert same(before, after, net.images(3))
    return count, [weight.shape for weight in weights(after)]


def test_a_depthwise_convolution_gets_a_multiple_of_16_channels() -> None:
    net = Net()
    deep = net.relu(net.depthwise(net.relu(net.conv(IMAGE, 3, 24)), 24))
    count, shapes = padded(net, net.head(net.conv(deep, 24, 16), 16))
    assert count == 4
    assert shapes == [(32, 3, 1, 1), (32, 1, 3, 3), (16, 32, 1, 1)]


def test_channels_that_fit_are_not_padded() -> None:
    net = Net()
    deep = net.depthwise(net.conv(IMAGE, 3, 16), 16)
    count, shapes = padded(net, net.head(net.conv(deep, 16, 20), 20))
    assert count == 0
    assert shapes == [(16, 3, 1, 1), (16, 1, 3, 3), (20, 16, 1, 1)]


@pytest.mark.parametrize(("channels", "expected"), [(8, 16), (18, 20), (20, 20), (6, 6)])
def test_an_ordinary_convolution_needs_multiples_of_4_and_16_outputs(channels: int, expected: int) -> None:
    """6 channels would grow by more than twice."""
    net = Net()
    middle = net.relu(net.conv(IMAGE, 3, channels))
    _, shapes = padded(net, net.head(net.conv(middle, channels, 16), 16))
    assert shapes == [(expected, 3, 1, 1), (16, expected, 1, 1)]


def test_a_sum_and_a_gate_have_the_channels_of_their_tensors() -> None:
    net = Net()
    stem = net.relu(net.conv(IMAGE, 3, 24))
    deep = net.depthwise(stem, 24)
    gate = net.node("Sigmoid", [net.conv(net.node("GlobalAveragePool", [deep]), 24, 24)])
    gated = net.node("Mul", [deep, gate])
    factor = net.constant(net.rng.normal(size=(1, 24, 1, 1)).astype(np.float32))
    scaled = net.node("Mul", [gated, factor])
    total = net.node("Add", [scaled, stem])
    _, shapes = padded(net, net.head(net.conv(total, 24, 16), 16))
    assert shapes == [(32, 3, 1, 1), (32, 1, 3, 3), (32, 32, 1, 1), (16, 32, 1, 1)]


def test_a_concatenation_keeps_the_channels_of_each_part_together() -> None:
    net = Net()
    first = net.relu(net.conv(IMAGE, 3, 12))
    second = net.relu(net.depthwise(first, 12))
    joined = net.node("Concat", [first, second], axis=1)
    shortcut = net.conv(IMAGE, 3, 24)
    total = net.node("Add", [joined, shortcut])
    _, shapes = padded(net, net.head(net.conv(total, 24, 16), 16))
    assert shapes == [(16, 3, 1, 1), (16, 1, 3, 3), (32, 3, 1, 1), (16, 32, 1, 1)]


def test_parts_whose_sum_does_not_fit_stay_as_they_are() -> None:
    """Two concatenations that are added would be padded in different places."""
    net = Net()
    sums = []
    for sizes in ((12, 20), (20, 12)):
        parts = [net.depthwise(net.conv(IMAGE, 3, size), size) for size in sizes]
        sums.append(net.node("Concat", parts, axis=1))
    total = net.node("Add", sums)
    count, _ = padded(net, net.head(net.conv(total, 32, 16), 16))
    assert count == 0


@pytest.mark.parametrize("is_read_twice", [False, True])
def test_a_mask_is_not_padded_nor_what_it_multiplies(is_read_twice: bool) -> None:
    """A mask has one channel, which counts for all channels of the other tensor."""
    net = Net()
    stem = net.relu(net.conv(IMAGE, 3, 24))
    mask = net.node("Sigmoid", [net.conv(stem, 24, 1)])
    parts = [net.node("Mul", [mask, net.depthwise(stem, 24)]), mask]
    if is_read_twice:
        parts[1] = net.node("Mul", [mask, net.depthwise(net.conv(IMAGE, 3, 12), 12)])
    joined = net.node("Concat", parts, axis=1)
    channels = 36 if is_read_twice else 25
    count, _ = padded(net, net.head(net.conv(joined, channels, 16), 16))
    assert count == 0


def test_a_concatenation_of_channels_of_another_number_is_not_padded() -> None:
    """As where the mask multiplies two tensors of other sizes, and one of them is a concatenation."""
    net = Net()
    first = net.relu(net.conv(IMAGE, 3, 24))
    second = net.relu(net.conv(IMAGE, 3, 12))
    mask = net.node("Sigmoid", [net.conv(first, 24, 1)])
    wide = net.node("Mul", [mask, net.node("Concat", [net.depthwise(first, 24), second], axis=1)])
    narrow = net.node("Mul", [mask, second])
    both = net.node("Concat", [net.conv(wide, 36, 16), net.conv(narrow, 12, 16)], axis=1)
    padded(net, net.head(both, 32))


def test_a_tensor_added_to_a_concatenation_of_it_alone_stays_as_it_is() -> None:
    net = Net()
    deep = net.depthwise(net.conv(IMAGE, 3, 24), 24)
    total = net.node("Add", [deep, net.node("Concat", [deep], axis=1)])
    count, _ = padded(net, net.head(net.conv(total, 24, 16), 16))
    assert count == 0


def test_channels_that_are_divided_are_not_padded() -> None:
    """Zero divided by zero would spread as NaN over all channels after it."""
    net = Net()
    deep = net.depthwise(net.conv(IMAGE, 3, 24), 24)
    divisors = net.constant(net.rng.uniform(1, 2, size=(1, 24, 1, 1)).astype(np.float32))
    count, _ = padded(net, net.head(net.conv(net.node("Div", [deep, divisors]), 24, 16), 16))
    assert count == 0


def test_a_division_by_a_number_keeps_the_padding() -> None:
    net = Net()
    deep = net.depthwise(net.conv(IMAGE, 3, 24), 24)
    halved = net.node("Div", [deep, net.constant(np.float32(2))])
    count, _ = padded(net, net.head(net.conv(halved, 24, 16), 16))
    assert count == 3


def test_a_tensor_that_is_reshaped_is_not_padded() -> None:
    net = Net()
    deep = net.depthwise(net.conv(IMAGE, 3, 24), 24)
    result = net.node("Reshape", [deep, net.constant(np.array([-1, 24, 8, 32]))])
    count, shapes = padded(net, result)
    assert count == 0
    assert shapes == [(24, 3, 1, 1), (24, 1, 3, 3)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(8, 40), min_size=1, max_size=3),
    st.integers(0, 5),
    st.booleans(),
)
def test_any_chain_of_blocks_computes_the_same(widths: list[int], seed: int, is_joined: bool) -> None:
    net = Net(px=6, seed=seed)
    last, channels = IMAGE, 3
    for width in widths:
        expanded = net.relu(net.conv(last, channels, width))
        deep = net.relu(net.depthwise(expanded, width))
        if is_joined:
            last, channels = net.node("Concat", [expanded, deep], axis=1), 2 * width
        else:
            last, channels = net.node("Add", [expanded, deep]), width
    padded(net, net.head(last, channels))


def test_a_convolution_whose_bias_is_computed_is_not_padded() -> None:
    """PyTorch exports equal biases as one constant and operators that copy it."""
    net = Net()
    source = net.conv(IMAGE, 3, 24)
    bias = net.node("Identity", [net.constant(np.zeros(24, np.float32))])
    weight = net.constant(net.rng.normal(size=(24, 1, 3, 3)).astype(np.float32))
    options = {"group": 24, "kernel_shape": [3, 3], "pads": [1] * 4}
    result = net.conv(net.node("Conv", [source, weight, bias], **options), 24, 16)
    assert padded(net, result)[0] == 0
