from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from pepr_edge.errors import ExportError
from pepr_edge.export import export as stage
from pepr_edge.export import onnx_file
from pepr_edge.export.artifact import read_drawn
from pepr_edge.export.export import Exporter
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe.variants import Variant, load
from pepr_edge.records import Artifact, Form
from pepr_edge.run_dir.store import read_record
from pepr_edge.scoring.metrics import metric

VARIANTS = ["fp32", "int8_static"]


class Exports(NamedTuple):
    """The artifacts by variant, and the folder that holds theirs."""

    artifacts: dict[str, Artifact]
    folder: Path


@pytest.fixture(scope="module")
def exports(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    folder = tmp_path_factory.mktemp("exported")
    with Exporter(trained.source, threads=1) as exporter:
        exporter.make_base(trained.module())
        return Exports(
            {name: exporter.artifact(load(name), folder / name, f"key of {name}") for name in VARIANTS},
            folder,
        )


@pytest.fixture
def open_exporter(trained: Any) -> Iterator[Exporter]:
    """An exporter with its float32 file; its records may be changed."""
    with Exporter(trained.source, threads=1) as exporter:
        exporter.make_base(trained.module())
        yield exporter


@pytest.mark.parametrize(("runtime", "threads"), [("auto", 8), ("openvino", 2)])
def test_files_are_checked_with_threads_that_the_runtime_takes(
    trained: Any, runtime: str, threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = trained.recipe.device.model_copy(update={"runtime": runtime, "threads": 2})
    recipe = trained.recipe.model_copy(update={"device": device})
    source = dataclasses.replace(trained.source, recipe=recipe)
    used = []
    monkeypatch.setattr(stage, "write_artifact", lambda *arguments: used.append(arguments[4]))
    with Exporter(source, threads=8) as exporter:
        exporter.make_base(trained.module())
        exporter.artifact(load("fp32"), tmp_path / "fp32", "a key")
    assert [settings.threads for settings in used] == [threads]


def session(exports: Exports, name: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(exports.folder / name / "model.onnx"))


def logits_one_by_one(exports: Exports, trained: Any, name: str, split: str) -> NDArray[np.float32]:
    """Return the logits of the file itself on a split, with onnxruntime alone."""
    pixels, runtime = trained.data.splits[split][0], session(exports, name)
    spec = trained.result.preprocess
    return np.concatenate(
        [
            runtime.run(None, {"pixel_values": to_tensor(pixels[i : i + 1], spec)})[0]
            for i in range(len(pixels))
        ]
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_the_record_is_on_the_disk_beside_its_file(exports: Exports, trained: Any, name: str) -> None:
    artifact, folder = exports.artifacts[name], exports.folder / name
    assert read_record(folder / "export.json", Artifact) == artifact
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "model.onnx", "predictions.npz"]
    content = (folder / "model.onnx").read_bytes()
    assert (artifact.sha256, artifact.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (artifact.key, artifact.variant, artifact.path) == (f"key of {name}", name, f"{name}/model.onnx")
    assert artifact.candidate == trained.result.candidate
    count = trained.result.num_params
    assert (artifact.form, artifact.form_note) == (Form(trained_params=count, deployed_params=count), "")
    assert artifact.duration_s > 0


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_is_in_one_file_whose_opset_and_producer_are_recorded(exports: Exports, name: str) -> None:
    artifact = exports.artifacts[name]
    model = onnx.load(str(exports.folder / name / "model.onnx"), load_external_data=False)
    assert model.graph.initializer
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert artifact.opset == next(entry.version for entry in model.opset_import if entry.domain == "") >= 17
    assert artifact.producer == f"{model.producer_name} {model.producer_version}".strip() != ""
    assert (artifact.exporter, artifact.simplified) == ("torchscript", False)
    assert set(artifact.notes) <= {artifact.quality.note}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_file_runs_at_batch_1_and_3(exports: Exports, trained: Any, name: str) -> None:
    runtime = session(exports, name)
    images = to_tensor(trained.data.splits["test"][0][:3], trained.result.preprocess)
    together = runtime.run(None, {"pixel_values": images})[0]
    one_by_one = logits_one_by_one(exports, trained, name, "test")[:3]
    assert together.shape == (3, 2)
    np.testing.assert_allclose(together, one_by_one, atol=1e-4)


def test_fp32_is_at_parity_with_pytorch(exports: Exports, trained: Any) -> None:
    parity = exports.artifacts["fp32"].parity
    assert parity.passed
    assert (parity.images, parity.batches) == (len(trained.data.splits["val"][0]), (1, 3, 8))
    assert (
        parity.max_abs_diff <= parity.tolerance == pytest.approx(1e-3 * trained.logits["val"].std(), rel=1e-4)
    )
    assert exports.artifacts["fp32"].flips.count == 0


def test_agreement_is_counted_on_validation_and_training_images(exports: Exports, trained: Any) -> None:
    images = {split: len(trained.data.splits[split][0]) for split in ("train", "val")}
    for artifact in exports.artifacts.values():
        agreement = artifact.quality.agreement
        assert (agreement.training_images, agreement.validation_images) == (images["train"], images["val"])
    fp32, int8 = exports.artifacts["fp32"], exports.artifacts["int8_static"]
    assert fp32.quality.shown  # by its logits: there are fewer than 299 images
    assert fp32.notes == ()
    assert not int8.quality.shown
    assert int8.quality.note in int8.notes or not int8.quality.passed


def test_drawn_images_are_not_those_of_calibration(trained: Any) -> None:
    images = trained.data.splits["train"][0]
    half = len(images) // 2
    drawn = trained.source.drawn()
    assert len(drawn) == len(images)
    calibration = {image.tobytes() for image in trained.source.calibration(half)}
    assert not calibration & {image.tobytes() for image in drawn[:half]}


def test_the_logits_of_drawn_images_are_kept_for_autotuning(exports: Exports, tmp_path: Path) -> None:
    drawn = read_drawn(exports.folder / "fp32")
    with np.load(exports.folder / "fp32" / "predictions.npz") as predictions:
        np.testing.assert_allclose(predictions["drawn"], drawn, atol=1e-4)
    assert read_drawn(tmp_path) is None
    np.savez(tmp_path / "predictions.npz", val=np.zeros(3))  # of version 0.1.0
    assert read_drawn(tmp_path) is None


def test_int8_is_judged_by_its_own_tolerance_and_smaller(exports: Exports, trained: Any) -> None:
    fp32, int8 = exports.artifacts["fp32"], exports.artifacts["int8_static"]
    assert int8.parity.tolerance == pytest.approx(0.5 * trained.logits["val"].std(), rel=1e-4)
    assert int8.parity.max_abs_diff > fp32.parity.max_abs_diff
    assert int8.size_bytes < fp32.size_bytes


def test_the_int8_file_holds_u8_activations_and_s8_weights_per_channel(exports: Exports) -> None:
    graph = onnx.load(str(exports.folder / "int8_static" / "model.onnx")).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    quantised = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    weights = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and kinds.get(node.input[0]) == onnx.TensorProto.INT8
    ]
    assert len(quantised) > 10
    assert {kinds[node.input[2]] for node in quantised} == {onnx.TensorProto.UINT8}
    assert len(weights) > 10
    assert sum(sizes[node.input[1]] > 1 for node in weights) > 10


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_performance_is_that_of_the_file_itself(
    exports: Exports, trained: Any, name: str, split: str
) -> None:
    logits, labels = logits_one_by_one(exports, trained, name, split), trained.data.splits[split][1]
    with np.load(exports.folder / name / "predictions.npz") as kept:
        np.testing.assert_allclose(kept[split], logits, atol=1e-5)
        np.testing.assert_array_equal(kept[f"{split}_labels"], labels)
        assert kept[split].shape == (len(labels), 2)
        accuracy = float((kept[split].argmax(1) == kept[f"{split}_labels"]).mean())
    prefix = "" if split == "test" else f"{split}_"
    performance = exports.artifacts[name].performance
    assert performance[f"{prefix}accuracy"].value == accuracy == float((logits.argmax(1) == labels).mean())
    assert performance[f"{prefix}auroc"].value == pytest.approx(metric("auroc")(logits, labels), abs=1e-9)
    assert (performance[f"{prefix}accuracy"].n, performance[f"{prefix}accuracy"].split) == (
        len(labels),
        split,
    )


def test_performance_is_never_inherited_from_pytorch(
    open_exporter: Exporter, exports: Exports, tmp_path: Path
) -> None:
    trained = open_exporter.source.trained
    before = {
        name: estimate.model_copy(update={"value": 0.123}) for name, estimate in trained.performance.items()
    }
    changed = trained.model_copy(update={"performance": before})
    open_exporter.source = dataclasses.replace(open_exporter.source, trained=changed)
    artifact = open_exporter.artifact(load("fp32"), tmp_path, "key")
    assert artifact.performance == exports.artifacts["fp32"].performance
    assert artifact.performance_before == before


@pytest.mark.parametrize("indices", [[0], [79], [5, 64, 70, 79]])
def test_flips_are_counted_over_the_whole_test_split(
    open_exporter: Exporter, tmp_path: Path, indices: list[int]
) -> None:
    expected = open_exporter.source.expected["test"]
    assert len(expected) == 80
    expected[indices] = expected[indices, ::-1]
    flips = open_exporter.artifact(load("fp32"), tmp_path, "key").flips
    assert (flips.count, flips.n, flips.split) == (len(indices), 80, "test")


def test_int8_is_calibrated_on_training_images_alone(
    open_exporter: Exporter, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images_used: list[NDArray[np.float32]] = []
    real = stage.convert

    def spy(variant: Variant, base: Any, path: Path, images: NDArray[np.float32], *more: Any) -> Any:
        images_used.append(images)
        return real(variant, base, path, images, *more)

    monkeypatch.setattr(stage, "convert", spy)
    variant = load("int8_static")
    for count in (7, 10_000):
        assert variant.quantise is not None
        few = variant.model_copy(
            update={"quantise": variant.quantise.model_copy(update={"calibration_images": count})}
        )
        open_exporter.artifact(few, tmp_path, "key")
    train = to_tensor(trained.data.splits["train"][0], trained.result.preprocess)
    assert [len(images) for images in images_used] == [7, len(train)]
    for images in images_used:
        matches = [(image == train).all(axis=(1, 2, 3)).nonzero()[0].tolist() for image in images]
        assert all(matches)
        assert len({match[0] for match in matches}) == len(images)


def test_making_it_again_gives_the_same_file(
    open_exporter: Exporter, exports: Exports, tmp_path: Path
) -> None:
    for name in VARIANTS:
        assert (
            open_exporter.artifact(load(name), tmp_path / name, "key").sha256
            == exports.artifacts[name].sha256
        )


def test_weights_other_than_the_trained_ones_fail_parity(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "EXPORTERS", {"torchscript": onnx_file.by_torchscript})
    module = trained.module()
    with torch.no_grad():
        module.classifier.weight *= 1.05
    words = r"torchscript: .* by [\d.e-]+, tolerance [\d.e-]+$"
    with Exporter(trained.source, threads=1) as exporter, pytest.raises(ExportError, match=words):
        exporter.make_base(module)


def test_a_form_with_other_logits_is_refused_and_the_record_says_so(trained: Any, tmp_path: Path) -> None:
    def forget(layer: torch.nn.Linear) -> None:
        layer.weight.zero_()
        layer.bias = None

    module = trained.module()
    module.classifier.reparameterize = MethodType(forget, module.classifier)
    with Exporter(trained.source, threads=1) as exporter:
        exporter.make_base(module)
        artifact = exporter.artifact(load("fp32"), tmp_path, "key")
    count = trained.result.num_params
    assert artifact.form == Form(trained_params=count, deployed_params=count)
    assert "differ" in artifact.form_note
    assert artifact.parity.passed
    assert module.classifier.bias is not None


@pytest.mark.slow
def test_the_program_has_the_deployed_form(trained: Any) -> None:
    device = trained.recipe.device.model_copy(update={"runtime": "pytorch"})
    recipe = trained.recipe.model_copy(update={"device": device})
    with Exporter(dataclasses.replace(trained.source, recipe=recipe), threads=1) as exporter:
        exporter.make_base(trained.module())
        program = torch.export.load(exporter.base.with_name("program.pt2")).module()
    targets = {str(node.target) for node in program.graph.nodes}
    assert "aten.conv2d.default" in targets
    assert "aten.batch_norm.default" not in targets
    images = to_tensor(trained.data.splits["val"][0], trained.result.preprocess)
    with torch.inference_mode():
        logits = program(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, trained.logits["val"], atol=1e-4)


def test_nothing_is_left_of_the_float32_file(trained: Any) -> None:
    with Exporter(trained.source, threads=1) as exporter:
        exporter.make_base(trained.module())
        assert exporter.base.is_file()
    assert not exporter.base.parent.exists()
