"""Which nodes of a network are quantised, and with which ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_nets
from numpy.typing import NDArray
from onnx import numpy_helper
from quantised_files import quantise, read

from pepr_edge.export.prepare import CALIBRATION_BATCH, CALIBRATIONS, PreparedModel
from pepr_edge.export.quantise import AS_ASKED, static
from pepr_edge.recipe.variants import Quantise

WEIGHTED = ("Conv", "Gemm", "MatMul")
NEIGHBOURS = {"first_conv", "mul", "depthwise_conv", "pointwise_conv", "add", "flatten", "gemm"}


@pytest.mark.parametrize(
    ("settings", "nodes"),
    [
        (Quantise(), NEIGHBOURS | {"sigmoid", "pool"}),
        (Quantise(operators=("Gemm",)), {"flatten", "gemm"}),
        (Quantise(operators=WEIGHTED), NEIGHBOURS | {"sigmoid"}),
        (Quantise(operators=WEIGHTED, grouped=False), NEIGHBOURS | {"sigmoid"}),
        (Quantise(operators=WEIGHTED, outputs=False), NEIGHBOURS),
        (
            Quantise(operators=WEIGHTED, outputs=False, grouped=False),
            {"first_conv", "depthwise_conv", "pointwise_conv", "flatten", "gemm"},
        ),
    ],
)
def test_the_settings_select_the_quantised_nodes(
    separable: PreparedModel, tmp_path: Path, settings: Quantise, nodes: set[str]
) -> None:
    """A node counts if its input or output is 8 bits wide, so the neighbours of named operators count too."""
    assert static(separable, tmp_path / "int8.onnx", tiny_nets.IMAGES, settings) == AS_ASKED
    assert tiny_nets.rounded(tmp_path / "int8.onnx") == nodes
    actual = tiny_nets.logits(tmp_path / "int8.onnx")
    expected = tiny_nets.logits(tmp_path / "fp32.onnx")
    assert np.abs(actual - expected).max() < 0.4 * expected.std()


def test_without_outputs_only_inputs_and_weights_are_8_bits(separable: PreparedModel, tmp_path: Path) -> None:
    static(separable, tmp_path / "int8.onnx", tiny_nets.IMAGES, Quantise(operators=WEIGHTED, outputs=False))
    nodes = onnx.load(str(tmp_path / "int8.onnx")).graph.node
    producers = {name: node.op_type for node in nodes for name in node.output}
    rounded = [
        producers.get(node.input[0], "the image") for node in nodes if node.op_type == "QuantizeLinear"
    ]
    # "Conv" is the depthwise convolution, whose output is the input of the pointwise convolution.
    assert sorted(rounded) == ["Conv", "Flatten", "Mul", "the image"]
    assert {producers[node.input[0]] for node in nodes if node.op_type == "Sigmoid"} == {"Conv"}


def test_grouped_convolutions_can_stay_float32(separable: PreparedModel, tmp_path: Path) -> None:
    static(
        separable,
        tmp_path / "int8.onnx",
        tiny_nets.IMAGES,
        Quantise(operators=WEIGHTED, outputs=False, grouped=False),
    )
    assert separable.grouped_convolutions == ("depthwise_conv",)
    graph = read(tmp_path / "int8.onnx")
    assert "depthwise" in graph.stored
    assert "depthwise_quantized" not in graph.stored
    assert "pointwise_quantized" in graph.stored


def test_one_calibration_serves_all_variants(
    separable: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no variant changes the ranges of the next."""
    calls: list[str] = []
    real = PreparedModel._calibrated

    def spy(self: PreparedModel, method: str, images: NDArray[np.float32]) -> Any:
        calls.append(method)
        return real(self, method, images)

    monkeypatch.setattr(PreparedModel, "_calibrated", spy)
    all_settings = (
        Quantise(),
        Quantise(per_channel=False),
        Quantise(operators=WEIGHTED),
        Quantise(activation="int8"),
        Quantise(),
    )
    files = []
    for settings in all_settings:
        static(separable, tmp_path / "int8.onnx", tiny_nets.IMAGES, settings)
        files.append((tmp_path / "int8.onnx").read_bytes())
    assert calls == ["minmax"]
    assert files[0] == files[-1]
    assert len(set(files)) == 4


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("n", [1, 2, CALIBRATION_BATCH + 1])
def test_calibration_works_with_any_number_of_images(
    separable: PreparedModel, tmp_path: Path, calibration: Any, n: int
) -> None:
    static(separable, tmp_path / "int8.onnx", tiny_nets.IMAGES[:n], Quantise(calibration=calibration))
    actual = tiny_nets.logits(tmp_path / "int8.onnx")
    expected = tiny_nets.logits(tmp_path / "fp32.onnx")
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() < 2 * expected.std()


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_tensors_that_hardly_vary_can_be_calibrated(tmp_path: Path, calibration: Any) -> None:
    """Their range holds fewer float32 numbers than a histogram has bins."""
    model = tiny_nets.separable()
    first = next(tensor for tensor in model.graph.initializer if tensor.name == "first")
    # With weights near 0 the output of the sigmoid is always near 0.5.
    small = numpy_helper.to_array(first) * np.float32(1e-6)
    first.CopyFrom(numpy_helper.from_array(small, "first"))
    fp32 = tmp_path / "fp32.onnx"
    onnx.save(model, fp32)
    settings = Quantise(calibration=calibration)
    assert quantise(fp32, tmp_path / "int8.onnx", tiny_nets.IMAGES, settings) == AS_ASKED
    assert np.isfinite(tiny_nets.logits(tmp_path / "int8.onnx")).all()


def test_percentile_ignores_rare_values(separable: PreparedModel, tmp_path: Path) -> None:
    rare = np.repeat(tiny_nets.IMAGES, 40, axis=0)
    rare[0, 0, 0, 0] = 1000
    scales = {}
    for calibration in ("minmax", "percentile"):
        static(separable, tmp_path / "int8.onnx", rare, Quantise(calibration=calibration))
        scales[calibration] = float(read(tmp_path / "int8.onnx").scales["pixel_values"])
    assert scales["percentile"] < 0.5 * scales["minmax"]
