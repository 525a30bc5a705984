from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_bundle
import tiny_nets
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from quantised_files import Graph, quantise, read

from pepr_edge.errors import ExportError
from pepr_edge.export import prepare as preparing
from pepr_edge.export import quantise as module
from pepr_edge.export.prepare import CALIBRATION_BATCH, CALIBRATIONS, PreparedModel
from pepr_edge.export.quantise import AS_ASKED, REMEDIES, dynamic
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe.variants import Quantise
from pepr_edge.records import SessionSettings

# Not a multiple of the calibration batch.
IMAGES = (
    np.random.default_rng(0)
    .normal(size=(2 * CALIBRATION_BATCH + 3, 1, tiny_bundle.PX, tiny_bundle.PX))
    .astype(np.float32)
)


def made(folder: Path, images: NDArray[np.float32] = IMAGES, **changes: Any) -> Path:
    onnx.save(tiny_bundle.model(), folder / "fp32.onnx")
    quantise(folder / "fp32.onnx", folder / "int8.onnx", images, Quantise(**changes))
    return folder / "int8.onnx"


def logits(path: Path) -> NDArray[np.float32]:
    runtime = RUNTIMES["onnxruntime"]
    return runtime.run(runtime.open(path, SessionSettings()), IMAGES)


def weight(graph: Graph, name: str = "conv_weight") -> str:
    return next(key for key in graph.stored if key.startswith(name) and key.endswith("quantized"))


def test_the_int8_file_is_qdq_with_u8_activations_and_s8_weights_per_channel(tmp_path: Path) -> None:
    graph = read(made(tmp_path))
    assert {"QuantizeLinear", "DequantizeLinear", "Conv", "Gemm"} <= set(graph.operators)
    assert not [name for name in graph.operators if "Integer" in name or name.startswith("QLinear")]
    conv = weight(graph)
    assert graph.stored[conv] == TensorProto.INT8
    assert graph.stored[weight(graph, "gemm_weight")] == TensorProto.INT8
    assert graph.scales[conv].shape == (8,)
    assert graph.axes[conv] == 0
    assert len(set(graph.scales[conv].tolist())) == 8
    assert not graph.zeros[conv].any()
    assert graph.zeros["pixel_values"].dtype == np.uint8
    activations = [zero.dtype for name, zero in graph.zeros.items() if name not in graph.stored]
    assert len(activations) >= 4
    assert set(activations) == {np.dtype(np.uint8)}


@pytest.mark.parametrize(
    ("changes", "stored", "activation", "shape"),
    [
        ({"per_channel": False}, TensorProto.INT8, np.uint8, ()),
        ({"activation": "int8"}, TensorProto.INT8, np.int8, (8,)),
        ({"weight": "uint8"}, TensorProto.UINT8, np.uint8, (8,)),
    ],
)
def test_settings_reach_the_file(
    tmp_path: Path, changes: dict[str, Any], stored: int, activation: type[np.integer], shape: tuple[int, ...]
) -> None:
    graph = read(made(tmp_path, **changes))
    assert graph.stored[weight(graph)] == stored
    assert graph.scales[weight(graph)].shape == shape
    assert graph.zeros["pixel_values"].dtype == activation


def test_reduced_range_leaves_the_weights_seven_bits(tmp_path: Path) -> None:
    values = {}
    for reduced in (False, True):
        path = made(tmp_path, reduce_range=reduced)
        tensors = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer
        }
        values[reduced] = int(np.abs(tensors[weight(read(path))]).max())
    assert values[False] == 127
    assert values[True] <= 64


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_the_decisions_stay_nearly_the_same(tmp_path: Path, calibration: str) -> None:
    quantised = logits(made(tmp_path, calibration=calibration))
    expected = logits(tmp_path / "fp32.onnx")
    assert quantised.shape == expected.shape
    assert not np.array_equal(quantised, expected)
    assert np.abs(quantised - expected).max() < 0.1 * max(1.0, float(expected.std()))


def test_ranges_come_from_all_calibration_images(tmp_path: Path) -> None:
    """The last image alone is ten times brighter."""
    bright = IMAGES.copy()
    bright[-1] *= 10
    plain, wide = (read(made(tmp_path, images)).scales["pixel_values"] for images in (IMAGES, bright))
    assert float(plain) == pytest.approx(float(IMAGES.max() - IMAGES.min()) / 255, rel=1e-3)
    assert float(wide) == pytest.approx(float(bright.max() - bright.min()) / 255, rel=1e-3)
    assert float(wide) > 5 * float(plain)


def test_quantising_again_gives_the_same_file(tmp_path: Path) -> None:
    first = made(tmp_path).read_bytes()
    assert made(tmp_path).read_bytes() == first


def test_a_quantiser_failure_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"cannot quantise .* \(\w+: .*\)\.$") as caught:
        quantise(tmp_path / "none.onnx", tmp_path / "int8.onnx", IMAGES, Quantise())
    assert "\n" not in str(caught.value)


def sharing() -> onnx.ModelProto:
    """Layers that share a constant, and tensors with the names that the quantiser gives its copies."""
    model = tiny_bundle.model()
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    channels = numpy_helper.to_array(
        next(tensor for tensor in model.graph.initializer if tensor.name == conv.input[1])
    ).shape[0]
    for name, fill in (("ones", np.ones), ("zeros", np.zeros)):
        model.graph.initializer.append(numpy_helper.from_array(fill(channels, np.float32), name))
    end = conv.output[0]
    conv.output[0] = "first"
    place = list(model.graph.node).index(conv) + 1
    nodes = [
        helper.make_node("InstanceNormalization", ["first", "ones", "zeros"], ["second"], name="norm_1"),
        helper.make_node("MaxPool", ["second"], ["zeros0"], name="pool_0", kernel_shape=[1, 1]),
        helper.make_node("MaxPool", ["zeros0"], ["zeros1"], name="pool_1", kernel_shape=[1, 1]),
        helper.make_node("InstanceNormalization", ["zeros1", "ones", "zeros"], [end], name="norm_2"),
    ]
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)
    return model


def test_a_shared_bias_is_not_confused_with_a_tensor_of_a_similar_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(sharing(), tmp_path / "fp32.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_rename_shared_constants", lambda graph: False)
        patch.setattr(module, "REMEDIES", {AS_ASKED: {}})
        with pytest.raises(ExportError, match="shared mode is not supported for weight"):
            quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", IMAGES, Quantise())
    assert quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", IMAGES, Quantise()) == AS_ASKED
    graph = read(tmp_path / "int8.onnx")
    assert {"InstanceNormalization", "QuantizeLinear"} <= set(graph.operators)
    assert graph.stored[weight(graph)] == TensorProto.INT8
    expected = logits(tmp_path / "fp32.onnx")
    actual = logits(tmp_path / "int8.onnx")
    assert np.abs(actual - expected).max() < 0.5 * max(1.0, float(expected.std()))


@pytest.mark.parametrize("refusals", range(len(REMEDIES) + 1))
def test_remedies_are_tried_in_order_and_the_successful_one_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    tried: list[dict[str, Any]] = []

    def refusing(prepared: PreparedModel, path: Path, ranges: Any, arguments: dict[str, Any]) -> None:
        tried.append(arguments)
        if len(tried) <= refusals:
            raise ValueError(f"refusal {len(tried)}")

    monkeypatch.setattr(module, "_quantise", refusing)
    onnx.save(sharing(), tmp_path / "fp32.onnx")
    if refusals == len(REMEDIES):
        with pytest.raises(ExportError, match=r"ValueError: refusal 1"):
            quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", IMAGES, Quantise())
        return
    assert (
        quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", IMAGES, Quantise())
        == list(REMEDIES)[refusals]
    )
    assert len(tried) == refusals + 1
    assert tried[0]["per_channel"] is True
    assert tried[0]["nodes_to_exclude"] == []
    assert {"Conv", "Gemm", "MatMul", "Add", "Concat"} <= set(tried[0]["op_types_to_quantize"])
    assert tried[-1]["per_channel"] is (refusals < 2)


def test_sizes_are_not_quantised(tmp_path: Path) -> None:
    """A padding computed from the image size in floating point, and cut off again."""
    model = tiny_bundle.model()
    first = model.graph.node[0]
    values = {
        "scale": np.array([0, 0, 0.37, 0.37], np.float32),
        "none": np.zeros(4, np.int64),
        "axes": np.array([2, 3], np.int64),
        "to": np.array([tiny_bundle.PX] * 2, np.int64),
        "from": np.zeros(2, np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    nodes = [
        helper.make_node("Shape", ["pixel_values"], ["size"]),
        helper.make_node("Cast", ["size"], ["size_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["size_float", "scale"], ["pad_float"]),
        helper.make_node("Cast", ["pad_float"], ["pad"], to=TensorProto.INT64),
        helper.make_node("Concat", ["none", "pad"], ["pads"], axis=0),
        helper.make_node("Pad", ["pixel_values", "pads"], ["padded"]),
        helper.make_node("Slice", ["padded", "from", "to", "axes"], ["cut"]),
    ]
    first.input[0] = "cut"
    for offset, node in enumerate(nodes):
        model.graph.node.insert(offset, node)
    onnx.save(model, tmp_path / "fp32.onnx")
    assert quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", IMAGES, Quantise()) == AS_ASKED
    graph = onnx.load(str(tmp_path / "int8.onnx")).graph
    producers = {name: node.op_type for node in graph.node for name in node.output}
    scaled = next(node for node in graph.node if node.op_type == "Mul")
    assert "DequantizeLinear" not in {producers.get(name) for name in scaled.input}
    assert np.abs(logits(tmp_path / "int8.onnx") - logits(tmp_path / "fp32.onnx")).max() < 0.1


def test_no_remedy_is_used_if_none_is_needed(tmp_path: Path) -> None:
    onnx.save(tiny_bundle.model(), tmp_path / "fp32.onnx")
    assert (
        quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", IMAGES, Quantise())
        == AS_ASKED
        == next(iter(REMEDIES))
    )


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_the_quantisers_advice_is_hidden_and_the_log_level_restored(
    tmp_path: Path,
    level: int,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = module._quantise

    def quantise_with_advice(*arguments: Any) -> None:
        logging.warning("Please consider pre-processing")  # as for some graphs
        print("Collecting tensor data")
        real(*arguments)

    monkeypatch.setattr(module, "_quantise", quantise_with_advice)
    with caplog.at_level(level):
        made(tmp_path)
        assert (caplog.text, capfd.readouterr().out) == ("", "")
        assert logging.getLogger().level == level


def test_only_the_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32.onnx", "int8.onnx"]


def test_dynamic_quantises_only_the_weights_of_the_named_operators(
    separable: PreparedModel, tmp_path: Path
) -> None:
    assert dynamic(separable, tmp_path / "int8.onnx", Quantise(operators=("Gemm", "MatMul"))) == AS_ASKED
    model = onnx.load(str(tmp_path / "int8.onnx"))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Conv") == 3
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= set(kinds)
    assert not {"Gemm", "ConvInteger"} & set(kinds)
    assert [tensor.data_type for tensor in model.graph.initializer if tensor.name.endswith("_quantized")] == [
        TensorProto.INT8
    ]
    actual = tiny_nets.logits(tmp_path / "int8.onnx")
    expected = tiny_nets.logits(tmp_path / "fp32.onnx")
    assert np.abs(actual - expected).max() < 0.2 * expected.std()


def test_a_dynamic_quantiser_failure_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with (
        PreparedModel(tmp_path / "none.onnx") as prepared,
        pytest.raises(ExportError, match=r"cannot quantise .* \(\w+: "),
    ):
        dynamic(prepared, tmp_path / "int8.onnx", Quantise())


def test_the_temporary_folder_is_removed(tmp_path: Path) -> None:
    onnx.save(tiny_nets.separable(), tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        folder = prepared.path.parent
        assert folder.is_dir()
    assert not folder.exists()
