"""A network that int8 ruins, since one channel is a thousand times greater than the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets

from pepr_edge.errors import ExportError
from pepr_edge.export.mixed import mixed
from pepr_edge.export.prepare import Prepared
from pepr_edge.export.quantise import AS_ASKED, static
from pepr_edge.recipe.variants import Quantise

SETTINGS = Quantise()


@pytest.fixture
def ruined(tmp_path: Path) -> Iterator[Prepared]:
    onnx.save(tiny_nets.convolutions(times=1000.0), tmp_path / "fp32.onnx")
    with Prepared(tmp_path / "fp32.onnx") as prepared:
        yield prepared


def agrees(path: Path) -> bool:
    found, expected = tiny_nets.logits(path), tiny_nets.logits(path.parent / "fp32.onnx")
    return bool((found.argmax(axis=1) == expected.argmax(axis=1)).all())


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "entropy"])
def test_int8_ruins_the_network_however_it_is_calibrated(
    ruined: Prepared, tmp_path: Path, calibration: str
) -> None:
    static(
        ruined,
        tmp_path / "int8.onnx",
        tiny_nets.IMAGES,
        Quantise.model_validate({"calibration": calibration}),
    )
    found, expected = tiny_nets.logits(tmp_path / "int8.onnx"), tiny_nets.logits(tmp_path / "fp32.onnx")
    assert np.mean(found.argmax(axis=1) != expected.argmax(axis=1)) > 0.3


@pytest.mark.parametrize("told", [True, False])
def test_the_guilty_nodes_alone_are_left_float32(ruined: Prepared, tmp_path: Path, told: bool) -> None:
    """Those that give and take the tensor; whether somebody says what is good enough, or the decisions do."""
    path, seen = tmp_path / "int8.onnx", []

    def accept(file: Path) -> bool:
        seen.append(file)
        return agrees(file)

    assert (
        mixed(ruined, path, tiny_nets.IMAGES, SETTINGS, accept if told else None)
        == "2 of 9 nodes left float32: conv1, conv2"
    )
    assert seen == [path] * 2 * told
    constants = {tensor.name for tensor in onnx.load(str(path)).graph.initializer}
    floats = {f"weight_{number}" for number in (1, 2)}
    assert floats < constants
    assert {f"weight_{number}_quantized" for number in (0, 3, 4, 5)} | {"head_quantized"} < constants
    assert not {f"{name}_quantized" for name in floats} & constants
    assert not {"relu1", "conv2"} & tiny_nets.rounded(path)
    found, expected = tiny_nets.logits(path), tiny_nets.logits(tmp_path / "fp32.onnx")
    assert np.abs(found - expected).max() < 0.3 * expected.std()
    assert agrees(path)


def test_a_network_that_int8_does_not_harm_is_left_as_it_is(tmp_path: Path) -> None:
    onnx.save(tiny_nets.convolutions(), tmp_path / "fp32.onnx")
    with Prepared(tmp_path / "fp32.onnx") as prepared:
        assert mixed(prepared, tmp_path / "mixed.onnx", tiny_nets.IMAGES, SETTINGS, None) == AS_ASKED
        static(prepared, tmp_path / "int8.onnx", tiny_nets.IMAGES, SETTINGS)
    assert (tmp_path / "mixed.onnx").read_bytes() == (tmp_path / "int8.onnx").read_bytes()


def test_more_than_half_of_the_nodes_is_a_reason_not_to(ruined: Prepared, tmp_path: Path) -> None:
    tried: list[set[str]] = []

    def never(path: Path) -> bool:
        tried.append(tiny_nets.rounded(path))
        return False

    words = r"^\d of 9 nodes would be left float32, more than half, and with fewer the quality is not kept\. Use the float32 file\.$"
    with pytest.raises(ExportError, match=words):
        mixed(ruined, tmp_path / "int8.onnx", tiny_nets.IMAGES, SETTINGS, never)
    assert [len(nodes) for nodes in tried] == sorted((len(nodes) for nodes in tried), reverse=True)
    assert len(tried) >= 2


def test_an_image_and_an_output_that_are_rounded_are_measured_too(tmp_path: Path) -> None:
    """A first convolution that is harmed by the rounding of the image itself."""
    model = tiny_nets.separable()
    onnx.save(model, tmp_path / "fp32.onnx")
    with Prepared(tmp_path / "fp32.onnx") as prepared:
        answers = iter([False, False, True])
        remedy = mixed(
            prepared, tmp_path / "int8.onnx", tiny_nets.IMAGES[:1], SETTINGS, lambda path: next(answers)
        )
    assert " of 9 nodes left float32: " in remedy
