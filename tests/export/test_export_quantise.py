from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import tiny_bundle
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime import quantization

from pepr_edge.errors import ExportError
from pepr_edge.export.quantise import CALIBRATION_BATCH, CALIBRATIONS, quantise
from pepr_edge.export.variants import Quantise
from pepr_edge.field.runtimes import RUNTIMES
from pepr_edge.records import SessionSettings

# Not a multiple of the greatest batch that the quantiser is given.
IMAGES = np.random.default_rng(0).normal(size=(2 * CALIBRATION_BATCH + 3, 1, tiny_bundle.PX, tiny_bundle.PX)).astype(np.float32)


class Graph(NamedTuple):
    """What an int8 file holds: its operators, and the scales and zero points of what is quantised, by the name of the tensor."""

    operators: list[str]
    scales: dict[str, NDArray[np.float32]]
    zeros: dict[str, NDArray[np.integer]]
    axes: dict[str, int]
    stored: dict[str, int]


def read(path: Path) -> Graph:
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales, zeros, axes = {}, {}, {}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scales[node.input[0]], zeros[node.input[0]] = values[node.input[1]], values[node.input[2]]
            axes[node.input[0]] = next((entry.i for entry in node.attribute if entry.name == "axis"), -1)
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    return Graph([node.op_type for node in model.graph.node], scales, zeros, axes, stored)


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
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}
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


def test_what_cannot_be_quantised_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"^onnxruntime cannot quantise this graph \(\w+: .*\)\.$") as caught:
        quantise(tmp_path / "none.onnx", tmp_path / "int8.onnx", IMAGES, Quantise())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_the_quantisers_advice_is_not_shown_and_the_log_is_left_as_it_was(
    tmp_path: Path, level: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = quantization.quantize_static

    def advising(*words: Any, **settings: Any) -> None:
        logging.warning("Please consider pre-processing")  # as it does for some graphs
        real(*words, **settings)

    monkeypatch.setattr(quantization, "quantize_static", advising)
    with caplog.at_level(level):
        made(tmp_path)
        assert caplog.text == ""
        assert logging.getLogger().level == level


def test_nothing_but_the_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32.onnx", "int8.onnx"]
