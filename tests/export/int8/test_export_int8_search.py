"""int8_mixed: which nodes stay float32, on networks with one place that int8 ruins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets

from pepr_edge.errors import ExportError
from pepr_edge.export.int8.form import int8_form, integer_kernels
from pepr_edge.export.int8.search import mixed
from pepr_edge.export.int8.sensitivity import effects
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.export.quantise import static
from pepr_edge.recipe.variants import Quantise

PLAIN = Quantise()
# The convolution of the grey image and its activation have no fast integer kernel.
NODES = 13


@pytest.fixture
def ruined(tmp_path: Path) -> Iterator[PreparedModel]:
    """One channel is a thousand times larger than the others."""
    onnx.save(tiny_nets.convolutions(times=1000.0), tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        yield prepared


def changed(path: Path) -> float:
    """Return the share of decisions that differ from float32's."""
    actual = tiny_nets.logits(path)
    expected = tiny_nets.logits(path.parent / "fp32.onnx")
    return float(np.mean(actual.argmax(axis=1) != expected.argmax(axis=1)))


def error(path: Path) -> float:
    """Return the mean square difference of the logits from float32's."""
    return float(np.square(tiny_nets.logits(path) - tiny_nets.logits(path.parent / "fp32.onnx")).mean())


def with_float_weights(path: Path) -> set[str]:
    """Return the layers whose weights are no integers."""
    graph = onnx.load(str(path)).graph
    constants = {tensor.name for tensor in graph.initializer}
    return {
        node.name for node in graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] in constants
    }


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "entropy"])
def test_plain_int8_ruins_the_network_with_every_calibration(
    ruined: PreparedModel, tmp_path: Path, calibration: str
) -> None:
    settings = Quantise.model_validate({"calibration": calibration})
    static(ruined, tmp_path / "int8.onnx", tiny_nets.IMAGES, settings)
    assert changed(tmp_path / "int8.onnx") > 0.3


def test_equalised_channels_take_most_of_the_error_without_a_float32_node(
    ruined: PreparedModel, tmp_path: Path
) -> None:
    integer_kernels(ruined, tmp_path / "plain.onnx", tiny_nets.IMAGES, PLAIN)
    integer_kernels(ruined, tmp_path / "saved.onnx", tiny_nets.IMAGES, Quantise(equalise=True))
    assert changed(tmp_path / "plain.onnx") > 0.3
    assert error(tmp_path / "saved.onnx") < 0.01 * error(tmp_path / "plain.onnx")


@pytest.mark.parametrize("gate", [True, False])
def test_only_the_damaged_nodes_stay_float32(ruined: PreparedModel, tmp_path: Path, gate: bool) -> None:
    """They make and read the damaged tensor. With a quality gate, or with the default check."""
    path = tmp_path / "int8.onnx"
    accept = (lambda file: changed(file) == 0) if gate else None
    remedy = mixed(ruined, path, tiny_nets.IMAGES, PLAIN, accept)
    assert remedy.endswith(f"2 of {NODES} nodes left float32: conv1, conv2")
    assert changed(path) == 0
    assert with_float_weights(path) == {"conv0", "conv1", "conv2"}


def test_the_largest_effect_is_that_of_the_damaged_tensor(ruined: PreparedModel) -> None:
    form = int8_form(ruined, tiny_nets.IMAGES, PLAIN)
    found = effects(form, tiny_nets.IMAGES)
    assert found[0].name == "relu_1"
    assert found[0].nodes >= {"conv2"}
    undamaged = [rounding for rounding in found if rounding.nodes.isdisjoint({"conv1", "relu1", "conv2"})]
    assert found[0].effect > 100 * max(rounding.effect for rounding in undamaged)


def test_what_there_is_no_time_to_measure_gets_its_effect_from_its_noise(ruined: PreparedModel) -> None:
    form = int8_form(ruined, tiny_nets.IMAGES, PLAIN)
    found = effects(form, tiny_nets.IMAGES, max_s=0.0)
    assert [rounding.effect for rounding in found] == [rounding.noise for rounding in found]
    assert found[0].name == "relu_1"


def test_a_network_that_int8_does_not_damage_is_all_int8(tmp_path: Path) -> None:
    onnx.save(tiny_nets.convolutions(), tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        remedy = mixed(prepared, tmp_path / "mixed.onnx", tiny_nets.IMAGES, PLAIN, lambda path: True)
        integer_kernels(prepared, tmp_path / "int8.onnx", tiny_nets.IMAGES, PLAIN)
    assert "float32" not in remedy
    assert (tmp_path / "mixed.onnx").read_bytes() == (tmp_path / "int8.onnx").read_bytes()


def test_more_than_half_of_the_nodes_is_refused(ruined: PreparedModel, tmp_path: Path) -> None:
    tried: list[int] = []

    def never(path: Path) -> bool:
        tried.append(len(tiny_nets.rounded(path)))
        return False

    with pytest.raises(ExportError, match=rf"\d of {NODES} nodes left float32"):
        mixed(ruined, tmp_path / "int8.onnx", tiny_nets.IMAGES, PLAIN, never)
    assert tried[1:] == sorted(tried[1:], reverse=True)
    assert tried[-1] < tried[0]


def test_when_the_time_is_used_up_the_best_so_far_stands(ruined: PreparedModel, tmp_path: Path) -> None:
    answers = iter([False, False, True])

    def accept(path: Path) -> bool:
        answer = next(answers, None)
        if answer is None:
            raise ExportError("the time budget is used up.")
        return answer

    remedy = mixed(ruined, tmp_path / "int8.onnx", tiny_nets.IMAGES, PLAIN, accept)
    assert f"3 of {NODES} nodes left float32" in remedy
