"""Parity on graphs of a few nodes, each with one fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_bundle
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pepr_edge.errors import ExportError
from pepr_edge.export.check import flips, onnx_logits, parity
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.records import Parity, Preprocess

SPEC = Preprocess(channels=1, image_size_px=tiny_bundle.PX, mean=(0.5,), std=(0.25,))
PIXELS = np.random.default_rng(0).integers(0, 256, (70, tiny_bundle.PX, tiny_bundle.PX, 1), dtype=np.uint8)
Floats = NDArray[np.float32]


def saved(folder: Path, change: Callable[[onnx.ModelProto], object] = lambda model: None) -> Path:
    model = tiny_bundle.model()
    change(model)
    onnx.checker.check_model(model)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def right(pixels: NDArray[np.uint8] = PIXELS) -> Floats:
    """Compute the tiny model with numpy: convolution, ReLU, mean, linear."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in tiny_bundle.model().graph.initializer}
    images = np.pad(to_tensor(pixels, SPEC), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(2, 3))
    features = np.einsum("nchwij,ocij->nohw", windows, weights["conv_weight"]).clip(min=0).mean(axis=(2, 3))
    logits: Floats = (features @ weights["gemm_weight"].T + weights["gemm_bias"]).astype(np.float32)
    return logits


def judged(
    path: Path, expected: Floats, pixels: NDArray[np.uint8] = PIXELS, tolerance: float = 1e-3
) -> Parity:
    return parity(path, pixels, expected, SPEC, tolerance, threads=1)


def appended(*nodes: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    """Append nodes after the last one, whose output becomes "inner"; the last new node gives "logits"."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "inner"
        model.graph.node.extend(nodes)

    return change


def fix_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def bake_reshape(model: onnx.ModelProto) -> None:
    """Declare a dynamic batch, and reshape to batch 1."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2], np.int64), "one"))
    appended(helper.make_node("Reshape", ["inner", "one"], ["logits"]))(model)


def test_a_faithful_file_passes(tmp_path: Path) -> None:
    result = judged(saved(tmp_path), right())
    assert result.passed
    assert result.batches == (1, 3, 8)
    assert result.images == 64
    assert result.max_abs_diff < 1e-4
    assert result.tolerance == pytest.approx(1e-3 * right()[:64].std(), rel=1e-5)


def test_logits_are_those_of_every_image_in_order(tmp_path: Path) -> None:
    logits = onnx_logits(saved(tmp_path), PIXELS, SPEC, threads=1)
    np.testing.assert_allclose(logits, right(), atol=1e-4)


@pytest.mark.parametrize("change", [fix_batch, bake_reshape])
def test_a_file_for_one_batch_size_is_found(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    path = saved(tmp_path, change)
    assert np.allclose(onnx_logits(path, PIXELS, SPEC, threads=1), right(), atol=1e-4)
    with pytest.raises(ExportError, match=r"fails at batch 3 \(\w+\)"):
        judged(path, right())


def test_outputs_that_do_not_grow_with_the_batch_are_found(tmp_path: Path) -> None:
    path = saved(tmp_path, appended(helper.make_node("ReduceMean", ["inner"], ["logits"], axes=[0])))
    with pytest.raises(ExportError, match=r"batch 3 .* shape \(1, 2\)"):
        judged(path, right())


def test_logits_that_are_wrong_only_for_several_images_fail(tmp_path: Path) -> None:
    """Each logit is multiplied by the size of the batch."""
    nodes = [
        helper.make_node("Shape", ["pixel_values"], ["size"], start=0, end=1),
        helper.make_node("Cast", ["size"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["inner", "factor"], ["logits"]),
    ]
    result = judged(saved(tmp_path, appended(*nodes)), right())
    assert not result.passed
    assert result.max_abs_diff == pytest.approx(7 * np.abs(right()[:8]).max(), rel=1e-3)


@pytest.mark.parametrize(("factor", "passed"), [(0.5, True), (2.0, False)])
def test_the_tolerance_is_in_standard_deviations_of_the_logits(
    tmp_path: Path, factor: float, passed: bool
) -> None:
    expected = right()
    expected[5, 0] += factor * 0.01 * expected[:64].std()
    assert judged(saved(tmp_path), expected, tolerance=0.01).passed is passed


def test_perturbed_weights_fail(tmp_path: Path) -> None:
    def perturb(model: onnx.ModelProto) -> None:
        weights = model.graph.initializer[0]
        weights.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.02), weights.name)
        )

    result = judged(saved(tmp_path, perturb), right())
    assert not result.passed
    assert result.max_abs_diff > result.tolerance


def test_the_tolerance_is_above_0_if_all_logits_are_the_same(tmp_path: Path) -> None:
    same = np.repeat(PIXELS[:1], 5, axis=0)
    expected = np.zeros((5, 2), np.float32)
    result = judged(saved(tmp_path), expected, same, tolerance=0.5)
    assert result.tolerance == pytest.approx(0.5 * 1e-2)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_images_than_a_batch_are_repeated(tmp_path: Path, n: int) -> None:
    result = judged(saved(tmp_path), right(PIXELS[:n]), PIXELS[:n])
    assert result.passed
    assert result.images == n


def test_non_finite_logits_are_an_error(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["inner", "inner"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["logits"]),
    ]
    with pytest.raises(ExportError, match="not finite"):
        judged(saved(tmp_path, appended(*nodes)), right())


def test_a_file_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot run this model.*INVALID_ARGUMENT"):
        onnx_logits(saved(tmp_path), PIXELS[:, :8], SPEC, threads=1)


def test_flips_count_decisions_that_differ_not_logits() -> None:
    expected = np.array([[2, 1, 0], [0, 1, 2], [0, 3, 1], [5, 4, 3]], np.float32)
    same = flips(expected * 7 - 3, expected, "val")
    assert (same.count, same.n, same.split) == (0, 4, "val")
    changed = expected.copy()
    changed[[1, 3]] = changed[[1, 3]][:, [2, 1, 0]]
    result = flips(changed, expected)
    assert (result.count, result.n, result.split) == (2, 4, "test")
    assert result.ci == pytest.approx((0.150, 0.850), abs=1e-3)  # Wilson's interval of 2 in 4
