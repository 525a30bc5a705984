"""The int8 form: which nodes compute on integers, the ranges, the corrections, and the file that results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from int8_nets import IMAGE, Net, graph_of, run

from pepr_edge.errors import ExportError
from pepr_edge.export.int8 import activations, bias, concats, equalise, placement, ranges, statistics
from pepr_edge.export.int8.form import int8_form, integer_kernels
from pepr_edge.export.int8.rewrites import rewrite
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.recipe.variants import Quantise

PLAIN = Quantise()
CORRECTED = Quantise(equalise=True, correct=True, calibration="mse")


def mobile_net() -> tuple[Net, onnx.ModelProto]:
    """A stem, a depthwise block with hard activations and a gate, a concatenation, and a head."""
    net = Net()
    stem = net.conv(IMAGE, 3, 24, 3, strides=[2, 2])
    swish = net.node("Mul", [stem, net.node("HardSigmoid", [stem], alpha=1 / 6, beta=0.5)])
    deep = net.relu(net.depthwise(swish, 24))
    pooled = net.node("ReduceMean", [deep], axes=[2, 3], keepdims=1)
    gate = net.node("HardSigmoid", [net.conv(pooled, 24, 24)], alpha=1 / 6, beta=0.5)
    narrow = net.conv(net.node("Mul", [deep, gate]), 24, 16)
    joined = net.node("Concat", [narrow, net.relu(net.conv(narrow, 16, 16, 3))], axis=1)
    return net, net.model(net.head(joined, 32))


def int8_file(
    model: onnx.ModelProto, net: Net, folder: Path, settings: Quantise = CORRECTED
) -> onnx.ModelProto:
    onnx.save(model, folder / "fp32.onnx")
    with PreparedModel(folder / "fp32.onnx") as prepared:
        integer_kernels(prepared, folder / "int8.onnx", net.images(32), settings)
    return onnx.load(str(folder / "int8.onnx"))


def kernels(path: Path, folder: Path) -> list[str]:
    """Return the operators that onnxruntime runs for a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(str(folder / "optimised.onnx")).graph.node]


@pytest.mark.parametrize("settings", [PLAIN, CORRECTED])
def test_the_int8_file_decides_as_float32(tmp_path: Path, settings: Quantise) -> None:
    net, model = mobile_net()
    int8 = int8_file(model, net, tmp_path, settings)
    onnx.checker.check_model(int8)
    expected = run(model, net.images(32))
    actual = run(int8, net.images(32))
    assert np.abs(actual - expected).max() < 0.2 * expected.std()


def test_every_layer_runs_on_integers(tmp_path: Path) -> None:
    """Between the image and the logits nothing is converted to float32 and back."""
    net, model = mobile_net()
    int8_file(model, net, tmp_path)
    found = kernels(tmp_path / "int8.onnx", tmp_path)
    assert found.count("QuantizeLinear") == 1
    assert found.count("DequantizeLinear") == 0
    assert {"QLinearConv", "QLinearAdd", "QLinearMul", "QLinearConcat", "QGemm"} <= set(found)
    assert not {"Conv", "HardSigmoid", "ReduceMean", "Clip", "Mul", "Add"} & set(found)


def test_a_graph_without_integer_kernels_is_refused(tmp_path: Path) -> None:
    net = Net()
    onnx.save(net.model(net.node("Softmax", [IMAGE])), tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared, pytest.raises(ExportError, match="no node"):
        integer_kernels(prepared, tmp_path / "int8.onnx", net.images(), PLAIN)


def test_a_form_is_made_once_for_its_settings(tmp_path: Path) -> None:
    net, model = mobile_net()
    onnx.save(model, tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        first = int8_form(prepared, net.images(4), PLAIN)
        assert int8_form(prepared, net.images(4), PLAIN) is first
        assert int8_form(prepared, net.images(4), CORRECTED) is not first


def test_what_has_no_fast_kernel_stays_float32_and_what_follows_it() -> None:
    net = Net()
    soft = net.node("Softmax", [net.conv(IMAGE, 3, 64, 5)], axis=1)
    total = net.node("Add", [soft, net.conv(IMAGE, 3, 64, 5)])
    graph = graph_of(net.model(net.conv(total, 64, 64, 3)))
    assert placement.float_nodes(graph) == {"softmax1", "add3"}


def test_a_layer_that_computes_little_between_float32_nodes_stays_float32() -> None:
    net = Net()
    narrow = net.conv(net.node("Softmax", [IMAGE], axis=1), 3, 4)
    wide = net.conv(net.node("Softmax", [narrow], axis=1), 4, 16, 9)
    graph = graph_of(net.model(net.node("Softmax", [wide], axis=1)))
    floats = placement.float_nodes(graph)
    assert "conv1" in floats
    assert "conv3" not in floats


@pytest.mark.parametrize(
    ("channels", "outputs", "stays"), [(1, 64, True), (1, 128, False), (3, 32, True), (3, 64, False)]
)
def test_a_convolution_of_few_channels_stays_float32_if_it_has_few_weights(
    channels: int, outputs: int, stays: bool
) -> None:
    net = Net(channels)
    stem = net.conv(IMAGE, channels, outputs, 7)
    graph = graph_of(net.model(net.head(net.conv(stem, outputs, 16, 3), 16)))
    assert ("conv0" in placement.float_nodes(graph)) == stays


def test_an_image_that_is_folded_is_read_as_integers() -> None:
    """Blocks of pixels are channels enough."""
    net = Net()
    stem = net.conv(IMAGE, 3, 16, 3, strides=[2, 2])
    graph, counts = rewrite(net.model(net.head(stem, 16)))
    assert counts["pixels folded"] == 1
    assert "conv0" not in placement.float_nodes(graph)


def test_a_node_that_must_stay_float32_takes_its_activations_with_it() -> None:
    net = Net()
    first = net.relu(net.conv(IMAGE, 3, 16))
    graph = graph_of(net.model(net.conv(first, 16, 64, 3)))
    assert placement.float_nodes(graph, frozenset(["conv0"])) == {"conv0", "relu1"}


def test_the_statistics_are_those_of_the_tensor() -> None:
    net = Net(channels=2, px=4)
    graph = graph_of(net.model(net.conv(IMAGE, 2, 4)))
    images = net.images(5)
    found = statistics.measure(graph, [IMAGE], images)[IMAGE]
    by_channel = images.transpose(1, 0, 2, 3).reshape(2, -1)
    np.testing.assert_allclose(found.low, by_channel.min(axis=1))
    np.testing.assert_allclose(found.high, by_channel.max(axis=1))
    np.testing.assert_allclose(found.mean, by_channel.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.mean_square, np.square(by_channel).mean(axis=1), rtol=1e-5)
    assert set(found.sample.reshape(-1)) <= set(images.reshape(-1))


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), st.floats(0, 1e3), st.floats(0, 1e3)
)
def test_rounding_changes_values_in_the_range_by_half_a_step_at_most(
    values: list[float], below: float, above: float
) -> None:
    array = np.clip(np.array(values), -below, above)
    changed = ranges.rounded(array, (-below, above))
    # The zero is rounded to a step too, so the ends may be cut off by half a step.
    assert np.abs(changed - array).max() <= (above + below) / 255 * 1.01 + 1e-9


@pytest.mark.parametrize(("lowest", "highest"), [(0, 255), (20, 230)])
@pytest.mark.parametrize(("mean", "std"), [(0.4, 0.5), (0.5719, 0.1684)])
def test_the_steps_of_the_image_are_its_pixels(lowest: int, highest: int, mean: float, std: float) -> None:
    """Rounding then shifts all pixels alike, by half a step at most."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(lowest, highest + 1, (6, 1, 16, 16))
    pixels[0, 0, 0, :2] = lowest, highest
    images = ((pixels.astype(np.float32) / np.float32(255)) - np.float32(mean)) / np.float32(std)
    net = Net(channels=1)
    graph = graph_of(net.model(net.conv(IMAGE, 1, 4, 3)))
    limits = ranges.choose(graph, statistics.measure(graph, [IMAGE], images))[IMAGE]
    step = (limits[1] - limits[0]) / 255
    assert step == pytest.approx(1 / 255 / std, rel=1e-4)
    shift = ranges.rounded(images.astype(np.float64), limits) - images
    assert np.ptp(shift) < 1e-3 * step
    assert np.abs(shift).max() <= 0.501 * step


@pytest.mark.parametrize("are_pixels", [True, False])
def test_other_values_are_not_taken_for_pixels(are_pixels: bool) -> None:
    """Nor are pixels of which none is near zero: with mean 1/2 they are half a step away."""
    net = Net(channels=1)
    graph = graph_of(net.model(net.conv(IMAGE, 1, 4, 3)))
    images = net.images()
    if are_pixels:
        images = np.round(np.clip(images, -2, 2) * 60 - 0.5) / 60 + np.float32(0.5 / 60)
    found = statistics.measure(graph, [IMAGE], images.astype(np.float32))
    low, high = ranges.choose(graph, found)[IMAGE]
    assert found[IMAGE].low.min() <= low < 0 < high <= found[IMAGE].high.max()


def test_a_rare_large_value_is_cut_off() -> None:
    sample = np.random.default_rng(0).normal(size=(1, 4096)).astype(np.float32)
    sample[0, 0] = 1000.0
    found = statistics.TensorStatistics(
        np.array([-4.0]), np.array([1000.0]), np.zeros(1), np.ones(1), np.repeat(sample, 8, axis=1)[:, 8:]
    )
    net = Net(channels=1)
    graph = graph_of(net.model(net.conv(IMAGE, 1, 4)))
    low, high = ranges.choose(graph, {IMAGE: found})[IMAGE]
    assert -5 < low < -2
    assert high < 100
    assert ranges.extremes({IMAGE: found})[IMAGE] == (-4.0, 1000.0)


def test_values_that_an_activation_ignores_get_no_steps() -> None:
    """x * sigmoid(x) of very negative values is zero."""
    net = Net(px=8)
    source = net.conv(IMAGE, 3, 4)
    silu = net.node("Mul", [source, net.node("Sigmoid", [source])])
    graph = graph_of(net.model(net.conv(silu, 4, 4)))
    assert activations.fuse_silu(graph) == 1
    sample = np.linspace(-60, 6, 4096, dtype=np.float32)[None].repeat(4, axis=0)
    found = statistics.TensorStatistics(
        sample.min(axis=1), sample.max(axis=1), sample.mean(axis=1), sample.mean(axis=1), sample
    )
    low, high = ranges.choose(graph, {source: found})[source]
    assert -20 < low < -2
    assert high == 6


def test_tensors_that_are_joined_share_their_range_if_it_is_near() -> None:
    net = Net()
    parts = [net.conv(IMAGE, 3, 4) for _ in range(3)]
    joined = net.node("Concat", parts, axis=1)
    other = net.conv(parts[1], 4, 12)
    graph = graph_of(net.model(net.node("Add", [joined, other])))
    given = {parts[0]: (-1.0, 1.0), parts[1]: (-0.1, 0.1), parts[2]: (0.0, 0.8), joined: (-1.0, 1.0)}
    shared = concats.share(graph, frozenset(), given)
    assert shared[parts[0]] == shared[parts[2]] == shared[joined] == (-1.0, 1.0)
    assert shared[parts[1]] == (-0.1, 0.1)  # the convolution would lose three of its eight bits


def test_the_range_of_an_activation_keeps_its_ends() -> None:
    """The quantiser removes the activation, since the ends of the range cut off as it does."""
    net = Net()
    parts = [net.conv(IMAGE, 3, 4), net.relu(net.conv(IMAGE, 3, 4))]
    joined = net.node("Concat", parts, axis=1)
    graph = graph_of(net.model(net.conv(joined, 8, 4)))
    given = {parts[0]: (-1.0, 1.0), parts[1]: (0.0, 0.9), joined: (-1.0, 1.0)}
    assert concats.share(graph, frozenset(), given)[parts[1]] == (0.0, 0.9)
    positive = {parts[0]: (0.0, 1.0), parts[1]: (0.0, 0.9), joined: (0.0, 1.0)}
    assert concats.share(graph, frozenset(), positive)[parts[1]] == (0.0, 1.0)


def uneven(net: Net) -> str:
    """Layers whose channels differ a hundredfold, and that divide by the same."""
    factors = np.geomspace(1, 100, 16).astype(np.float32)
    net.constants["made"] = (net.rng.normal(size=(16, 3, 1, 1)) * factors[:, None, None, None]).astype(
        np.float32
    )
    net.constants["read"] = (net.rng.normal(size=(16, 1, 3, 3)) / factors[:, None, None, None]).astype(
        np.float32
    )
    zero = net.constant(np.zeros(16, np.float32))
    first = net.relu(net.node("Conv", [IMAGE, "made", zero]))
    return net.node("Conv", [first, "read", zero], group=16, pads=[1, 1, 1, 1])


def test_channels_are_made_equal_and_the_outputs_stay() -> None:
    net = Net()
    before = net.model(net.conv(uneven(net), 16, 4))
    graph = graph_of(before)
    found = statistics.measure(graph, ["t0", "t1", "t2"], net.images())
    assert equalise.equalise(graph, found) >= 1
    after = graph.save()
    np.testing.assert_allclose(run(after, net.images()), run(before, net.images()), rtol=1e-3, atol=1e-4)
    extent = statistics.measure(graph, ["t1"], net.images())["t1"].high
    assert found["t1"].high.max() / found["t1"].high.min() > 20
    assert extent.max() / extent.min() < 1.5 * equalise.HEADROOM


@pytest.mark.parametrize("kind", ["SiLU", "SiLU fused", "ReLU6"])
def test_nothing_is_scaled_through_an_activation_that_is_not_homogeneous(kind: str) -> None:
    net = Net()
    source = net.conv(IMAGE, 3, 16)
    if kind.startswith("SiLU"):
        active = net.node("Mul", [source, net.node("Sigmoid", [source])])
    else:
        active = net.node("Clip", [source, net.constant(np.float32(0)), net.constant(np.float32(6))])
    graph = graph_of(net.model(net.conv(active, 16, 4)))
    if kind == "SiLU fused":
        activations.fuse_silu(graph)
    assert all(link.fixed for link in equalise.links(graph))


def test_the_correction_takes_the_mean_error_away() -> None:
    """Without it, a rounded weight shifts the result by its error times the mean of its input."""
    net = Net(px=8)
    net.constants["weight"] = np.random.default_rng(4).normal(size=(8, 3, 1, 1)).astype(np.float32)
    net.constants["bias"] = np.zeros(8, np.float32)
    graph = graph_of(net.model(net.node("Conv", [IMAGE, "weight", "bias"])))
    images = net.images(16) + 100
    found = statistics.measure(graph, [IMAGE], images)
    limits = ranges.extremes(found)
    assert bias.correct(graph, frozenset(), found, limits, PLAIN) == 1
    exact = net.constants["weight"].astype(np.float64)
    rounded = bias.round_weights(exact, PLAIN)[:, :, 0, 0]
    inputs = ranges.rounded(images.astype(np.float64), limits[IMAGE]).mean(axis=(0, 2, 3))
    shift = rounded @ inputs - exact[:, :, 0, 0] @ images.mean(axis=(0, 2, 3))
    corrected = graph.constant(graph.nodes[0].input[2])
    assert np.abs(shift).max() > 0.1
    np.testing.assert_allclose(corrected, -shift, atol=0.02)
