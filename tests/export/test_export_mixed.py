"""int8_mixed on a network that int8 ruins: one channel is a thousand times larger than the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets

from pepr_edge.errors import ExportError
from pepr_edge.export.mixed import mixed
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.export.quantise import AS_ASKED, static
from pepr_edge.recipe.variants import Quantise

SETTINGS = Quantise()


@pytest.fixture
def ruined(tmp_path: Path) -> Iterator[PreparedModel]:
    onnx.save(tiny_nets.convolutions(times=1000.0), tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        yield prepared


def agrees(path: Path) -> bool:
    actual = tiny_nets.logits(path)
    expected = tiny_nets.logits(path.parent / "fp32.onnx")
    return bool((actual.argmax(axis=1) == expected.argmax(axis=1)).all())


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "entropy"])
def test_int8_ruins_the_network_with_every_calibration(
    ruined: PreparedModel, tmp_path: Path, calibration: str
) -> None:
    static(
        ruined,
        tmp_path / "int8.onnx",
        tiny_nets.IMAGES,
        Quantise.model_validate({"calibration": calibration}),
    )
    actual = tiny_nets.logits(tmp_path / "int8.onnx")
    expected = tiny_nets.logits(tmp_path / "fp32.onnx")
    assert np.mean(actual.argmax(axis=1) != expected.argmax(axis=1)) > 0.3


@pytest.mark.parametrize("gate", [True, False])
def test_only_the_damaged_nodes_stay_float32(ruined: PreparedModel, tmp_path: Path, gate: bool) -> None:
    """They produce and consume the damaged tensor. With a quality gate, or with the default check."""
    path = tmp_path / "int8.onnx"
    checked: list[Path] = []

    def accept(file: Path) -> bool:
        checked.append(file)
        return agrees(file)

    remedy = mixed(ruined, path, tiny_nets.IMAGES, SETTINGS, accept if gate else None)
    assert remedy == "2 of 9 nodes left float32: conv1, conv2"
    assert checked == ([path, path] if gate else [])
    constants = {tensor.name for tensor in onnx.load(str(path)).graph.initializer}
    floats = {f"weight_{number}" for number in (1, 2)}
    assert floats < constants
    assert {f"weight_{number}_quantized" for number in (0, 3, 4, 5)} | {"head_quantized"} < constants
    assert not {f"{name}_quantized" for name in floats} & constants
    assert not {"relu1", "conv2"} & tiny_nets.rounded(path)
    actual = tiny_nets.logits(path)
    expected = tiny_nets.logits(tmp_path / "fp32.onnx")
    assert np.abs(actual - expected).max() < 0.3 * expected.std()
    assert agrees(path)


def test_a_network_that_int8_does_not_damage_is_all_int8(tmp_path: Path) -> None:
    onnx.save(tiny_nets.convolutions(), tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        assert mixed(prepared, tmp_path / "mixed.onnx", tiny_nets.IMAGES, SETTINGS, None) == AS_ASKED
        static(prepared, tmp_path / "int8.onnx", tiny_nets.IMAGES, SETTINGS)
    assert (tmp_path / "mixed.onnx").read_bytes() == (tmp_path / "int8.onnx").read_bytes()


def test_more_than_half_of_the_nodes_is_refused(ruined: PreparedModel, tmp_path: Path) -> None:
    tried: list[set[str]] = []

    def never(path: Path) -> bool:
        tried.append(tiny_nets.rounded(path))
        return False

    with pytest.raises(ExportError, match=r"^\d of 9 nodes .* more than half"):
        mixed(ruined, tmp_path / "int8.onnx", tiny_nets.IMAGES, SETTINGS, never)
    assert [len(nodes) for nodes in tried] == sorted((len(nodes) for nodes in tried), reverse=True)
    assert len(tried) >= 2


def test_the_rounding_of_the_input_and_the_output_is_measured_too(tmp_path: Path) -> None:
    """The rounding of the image damages the first convolution."""
    model = tiny_nets.separable()
    onnx.save(model, tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        answers = iter([False, False, True])
        remedy = mixed(
            prepared, tmp_path / "int8.onnx", tiny_nets.IMAGES[:1], SETTINGS, lambda path: next(answers)
        )
    assert " of 9 nodes left float32: " in remedy
