"""Every variant, on a network of a few layers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets

from pepr_edge.errors import ExportError
from pepr_edge.export import convert as module
from pepr_edge.export.convert import CONVERTERS, convert
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.recipe.variants import SETTINGS, load, names

PRESETS = [name for name in names() if name.startswith("optimum_")]
OWN = [name for name in names() if name not in PRESETS]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedModel]:
    path = tmp_path_factory.mktemp("base") / "fp32.onnx"
    onnx.save(tiny_nets.separable(), path)
    with PreparedModel(path) as opened:
        yield opened


@pytest.mark.parametrize("name", [*OWN, *(pytest.param(name, marks=pytest.mark.slow) for name in PRESETS)])
def test_every_variant_is_made_and_runs_at_any_batch(
    prepared: PreparedModel, tmp_path: Path, name: str
) -> None:
    variant = load(name)
    path = tmp_path / "model.onnx"
    made = convert(variant, prepared, path, tiny_nets.IMAGES)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert (made.remedy is not None) == (variant.quantise is not None)
    assert variant.precision not in ("int8", "int8_dynamic") or made.remedy == "as asked"
    assert made.notes == ()
    actual = tiny_nets.logits(path)
    expected = tiny_nets.logits(prepared.float32_path)
    assert np.abs(actual - expected).max() < variant.parity_tolerance * expected.std()
    assert (name in ("fp32", "fp32_optimised")) or not np.array_equal(actual, expected)
    model = onnx.load(str(path))
    ends = [*model.graph.input, *model.graph.output]
    assert [value.name for value in ends] == ["pixel_values", "logits"]
    assert {value.type.tensor_type.elem_type for value in ends} == {onnx.TensorProto.FLOAT}
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    foreign = {(node.domain, node.op_type) for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    if name in ("int8_kernels", "int8_mixed"):
        assert foreign == {("com.microsoft", "QuickGelu")}
    elif name != "fp32_optimised":
        assert not foreign
    again = tmp_path / "again.onnx"
    convert(variant, prepared.float32_path, again, tiny_nets.IMAGES)
    assert again.read_bytes() == path.read_bytes()


def test_there_is_a_converter_for_each_precision() -> None:
    assert set(CONVERTERS) >= {load(name).precision for name in names()}
    assert set(SETTINGS) < set(CONVERTERS)


def test_float16_is_half_the_size_in_its_weights(prepared: PreparedModel, tmp_path: Path) -> None:
    convert(load("fp16"), prepared, tmp_path / "model.onnx", tiny_nets.IMAGES)
    kinds = {tensor.data_type for tensor in onnx.load(str(tmp_path / "model.onnx")).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds


def test_the_optimised_file_has_fewer_nodes(tmp_path: Path) -> None:
    onnx.save(tiny_nets.convolutions(), tmp_path / "fp32.onnx")
    convert(load("fp32_optimised"), tmp_path / "fp32.onnx", tmp_path / "model.onnx", tiny_nets.IMAGES)
    before, after = (onnx.load(str(tmp_path / name)) for name in ("fp32.onnx", "model.onnx"))
    assert len(after.graph.node) == len(before.graph.node) - 6  # each convolution is fused with its ReLU
    assert (after.producer_name, after.producer_version) == (before.producer_name, before.producer_version)


@pytest.mark.parametrize(
    "name", ["int8_static", "int8_static_percentile", "int8_static_entropy", "int8_mixed", "int8_inputs"]
)
def test_calibration_works_with_one_image_and_is_noted(
    prepared: PreparedModel, tmp_path: Path, name: str
) -> None:
    made = convert(load(name), prepared, tmp_path / "model.onnx", tiny_nets.IMAGES[:1])
    assert len(made.notes) == 1
    assert "1 image " in made.notes[0]
    assert np.isfinite(tiny_nets.logits(tmp_path / "model.onnx")).all()


@pytest.mark.parametrize(("n", "noted"), [(2, True), (15, True), (16, False)])
def test_few_images_are_noted(prepared: PreparedModel, tmp_path: Path, n: int, noted: bool) -> None:
    made = convert(load("int8_static"), prepared, tmp_path / "model.onnx", tiny_nets.IMAGES[:n])
    assert len(made.notes) == int(noted)
    assert all(f"{n} images" in note for note in made.notes)


def test_no_more_images_are_used_than_the_variant_asks_for(prepared: PreparedModel, tmp_path: Path) -> None:
    variant = load("int8_static")
    assert variant.quantise is not None
    few = variant.model_copy(
        update={"quantise": variant.quantise.model_copy(update={"calibration_images": 3})}
    )
    convert(few, prepared, tmp_path / "few.onnx", tiny_nets.IMAGES)
    convert(variant, prepared, tmp_path / "three.onnx", tiny_nets.IMAGES[:3])
    assert (tmp_path / "few.onnx").read_bytes() == (tmp_path / "three.onnx").read_bytes()


def test_without_images_the_error_is_one_clear_line(prepared: PreparedModel, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"int8_static: no images"):
        convert(load("int8_static"), prepared, tmp_path / "model.onnx", tiny_nets.IMAGES[:0])
    for name in ("fp32", "fp16", "int8_dynamic"):
        assert convert(load(name), prepared, tmp_path / "model.onnx", tiny_nets.IMAGES[:0]).notes == ()


def test_a_file_appears_complete_or_not_at_all(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier file stays if the conversion fails."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")

    def fail(prepared: PreparedModel, part: Path, *_: object) -> None:
        part.write_bytes(b"half of a fi")
        assert path.read_bytes() == b"before"
        raise ExportError("interrupted")

    monkeypatch.setitem(module.CONVERTERS, "float32", fail)
    with pytest.raises(ExportError, match="interrupted"):
        convert(load("fp32"), prepared, path, tiny_nets.IMAGES)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.onnx", b"before")]


@pytest.mark.parametrize("name", [name for name in OWN if name != "fp32"])
def test_an_invalid_base_is_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"^.* \(\w+: .*\)\.$") as caught:
        convert(load(name), tmp_path / "none.onnx", tmp_path / "model.onnx", tiny_nets.IMAGES)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["none.onnx"]


def test_the_accept_callback_decides_if_the_quality_is_kept(tmp_path: Path) -> None:
    onnx.save(tiny_nets.convolutions(times=1000.0), tmp_path / "fp32.onnx")
    checked: list[Path] = []

    def accept(path: Path) -> bool:
        checked.append(path)
        return len(checked) == 2

    made = convert(
        load("int8_mixed"), tmp_path / "fp32.onnx", tmp_path / "model.onnx", tiny_nets.IMAGES, accept
    )
    assert made.remedy is not None
    assert "of 13 nodes left float32: conv" in made.remedy
    # Other runtimes choose the format by the suffix.
    assert {path.suffix for path in checked} == {".onnx"}


def test_importing_it_imports_no_torch() -> None:
    heavy = {"torch", "timm", "transformers", "optimum", "openvino"}
    program = f"import sys, pepr_edge.export.convert; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_variant_runs_in_openvino_at_a_fixed_batch(
    prepared: PreparedModel, tmp_path: Path, name: str
) -> None:
    openvino = pytest.importorskip("openvino")
    convert(load(name), prepared, tmp_path / "model.onnx", tiny_nets.IMAGES)
    model = openvino.Core().read_model(str(tmp_path / "model.onnx"))
    model.reshape([1, 1, tiny_nets.PX, tiny_nets.PX])
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    actual = np.concatenate([np.array(compiled([image[None]])[0]) for image in tiny_nets.IMAGES])
    expected = tiny_nets.logits(prepared.float32_path)
    assert np.abs(actual - expected).max() < 0.5 * expected.std()
