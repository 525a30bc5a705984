from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import small_run
from PIL import Image
from small_run import GOOD, RECIPE

from pepr_edge.bundle import write, write_selftest
from pepr_edge.bundle.hub import hub_preprocessor
from pepr_edge.bundle.read import read_manifest
from pepr_edge.data import phantom
from pepr_edge.errors import RunError
from pepr_edge.field import verify
from pepr_edge.field.predict import Classifier
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import Ranking, SessionSettings
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record, sha256_file, write_record
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import decide_by, task_of

ROOT = Path(__file__).resolve().parents[2]
MANIFEST_KEYS = (
    "schema_version architecture variant labels preprocess input output performance train_cost profile pepr "
    "provenance files"
)
PREPROCESS_KEYS = "channels image_size_px interpolation mean std scale"


def bundles(run: Path) -> list[Path]:
    return sorted((run / "bundles").iterdir())


def test_the_manifest_has_the_documented_keys(finished: Path) -> None:
    ranking = read_record(finished / "ranking.json", Ranking)
    for bundle, row in zip(bundles(finished), ranking.rows, strict=False):
        manifest = json.loads((bundle / "manifest.json").read_text())
        assert set(MANIFEST_KEYS.split()) <= set(manifest)
        assert set(manifest["preprocess"]) == set(PREPROCESS_KEYS.split())
        assert {"value", "ci", "split", "n"} == set(manifest["performance"]["accuracy"])
        assert {"versions", "seed", "data_sha256", "commit"} <= set(manifest["provenance"])
        assert manifest["pepr"] == row.pepr
        assert bundle.name == f"{row.rank:02d}-{row.candidate}-{row.variant}"
        assert manifest["files"] == {
            path.name: sha256_file(path) for path in bundle.iterdir() if path.name != "manifest.json"
        }


def test_the_models_input_and_output_are_those_of_the_manifest(finished: Path) -> None:
    for bundle in bundles(finished):
        manifest = read_manifest(bundle)
        graph = onnx.load(bundle / "model.onnx").graph
        assert [(graph.input[0].name, graph.output[0].name)] == [(manifest.input.name, manifest.output.name)]
        sizes = [dim.dim_value or -1 for dim in graph.input[0].type.tensor_type.shape.dim]
        assert tuple(sizes) == manifest.input.shape


def test_a_bundle_holds_no_image_of_the_data(finished: Path) -> None:
    images, _ = phantom.images(80, seed=0)
    data = set()
    for image in images:
        resized = Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR)
        data.add(np.asarray(resized).tobytes())
    for bundle in bundles(finished):
        with np.load(bundle / "selftest.npz") as test:
            assert not data & {image.tobytes() for image in test["pixels"][..., 0]}


def test_within_the_tolerance_no_decision_changes() -> None:
    logits = np.array([[0.0, 3.0], [1.0, 0.0], [5.0, 1.0]], np.float32)
    assert task_of().margin(logits).tolist() == [3.0, 1.0, 4.0]
    assert write_selftest.tolerance(task_of().margin(logits)) == 0.5
    assert write_selftest.tolerance(np.zeros(2, np.float32)) == 1e-4


@pytest.fixture(scope="module")
def decided(flawless: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a quantised model with a threshold, and of its fallback."""
    results = load(flawless)
    decision = results.recipe.decision.model_copy(update={"target": "sensitivity >= 0.90"})
    results = replace(results, recipe=results.recipe.model_copy(update={"decision": decision}))
    out = tmp_path_factory.mktemp("decided") / "bundles"
    write.write_bundles(results, read_record(flawless / "ranking.json", Ranking), out)
    return next(path for path in sorted(out.iterdir()) if "int8" in path.name)


def test_a_bundle_has_the_decision_of_its_own_file_and_of_the_fallback(decided: Path, flawless: Path) -> None:
    manifest = read_manifest(decided)
    decision = manifest.decision
    assert decision is not None
    assert manifest.fallback is not None
    assert manifest.fallback.decision is not None
    assert manifest.fallback.decision.temperature != decision.temperature
    (entry,) = (entry for entry in load(flawless).entries if entry.variant == manifest.variant)
    predictions = entry.predictions()
    rule = rule_of(decision, manifest.labels)
    alarm = decide_by(predictions["val"], rule) == rule.positive
    assert alarm[predictions["val_labels"] == rule.positive].mean() >= 0.9
    alarm = decide_by(predictions["test"], rule) == rule.positive
    of_positive = alarm[predictions["test_labels"] == rule.positive]
    assert manifest.performance["sensitivity_at_decision"].value == of_positive.mean()
    assert manifest.performance["sensitivity_at_decision"].n == len(of_positive)
    card = (decided / "MODEL_CARD.md").read_text()
    named = alarm[predictions["test_labels"] != rule.positive]
    row = [int((~named).sum()), int(named.sum())][:: 1 if rule.positive else -1]
    other = manifest.labels[1 - rule.positive]
    assert f"| {other} | {row[0]} | {row[1]} |" in card  # by class, at the threshold
    assert "count the more probable class" in card
    assert all(digest in card for name, digest in manifest.files.items() if name != "MODEL_CARD.md")
    assert "## Decisions" in card
    assert "on validation for: sensitivity" in card
    assert "were not calibrated" not in card
    assert "| 5 % |" in card
    assert verify.check(decided).reasons == []


def test_a_threshold_that_was_altered_is_found(decided: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(decided, tmp_path / decided.name))
    manifest = read_manifest(copied)
    assert manifest.decision is not None
    altered = manifest.decision.replace(threshold=0.99)
    write_record(copied / "manifest.json", manifest.replace(decision=altered))
    (reason,) = verify.check(copied).reasons
    assert "config.json" in reason
    assert "decisions" in reason


@pytest.mark.parametrize("is_fallback", [False, True])
def test_predict_decides_by_the_threshold(decided: Path, tmp_path: Path, is_fallback: bool) -> None:
    manifest = read_manifest(decided)
    image = tmp_path / "a.png"
    Image.fromarray(phantom.images(1, seed=5)[0][0]).save(image)
    with InferenceProcess() as process:
        classify = Classifier(decided, manifest, SessionSettings(), process, is_fallback)
        decision = classify.decision
        assert decision is not None
        assert decision.positive is not None
        own = manifest.fallback.decision if is_fallback and manifest.fallback else manifest.decision
        assert decision == own
        probability = classify(image).probabilities[decision.positive]
        labels = []
        for threshold in (probability, float(np.nextafter(probability, 1))):
            classify._rule = classify._rule._replace(threshold=threshold)
            labels.append(classify(image).label)
    assert labels[0] == decision.positive
    assert labels[1] != decision.positive


def test_optimum_loads_a_bundle_and_gives_the_same_logits(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries warn when they are imported
        import torch
        from optimum.onnxruntime import ORTModelForImageClassification
        from transformers import AutoConfig

        for bundle in bundles(finished):
            manifest = read_manifest(bundle)
            # From inside the folder: optimum reads an "@" in a path as the revision of a repository.
            monkeypatch.chdir(bundle)
            model = ORTModelForImageClassification.from_pretrained(".")
            assert AutoConfig.from_pretrained(".").id2label == dict(enumerate(manifest.labels))
            with np.load(bundle / "selftest.npz") as test:
                tensor = to_tensor(test["pixels"][:1], manifest.preprocess)
                logits = model(pixel_values=torch.from_numpy(tensor)).logits
                assert np.allclose(np.asarray(logits), test["logits"][:1], atol=manifest.selftest.tolerance)


def test_the_hubs_preprocessor_does_what_the_manifest_says() -> None:
    from transformers import ViTImageProcessor

    from pepr_edge.images.preprocess import to_pixels
    from pepr_edge.records import Preprocess

    spec = Preprocess(
        channels=3, image_size_px=48, interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8))
    ours = to_tensor(to_pixels(image, channels=3, image_size_px=48, interpolation="bicubic")[None], spec)
    theirs = ViTImageProcessor(**hub_preprocessor(spec))(image, return_tensors="np")["pixel_values"]
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (3, "L")])
def test_transformers_own_choice_of_a_preprocessor_does_it_too(
    tmp_path: Path, channels: Literal[1, 3], mode: str
) -> None:
    pytest.importorskip("torchvision")
    from transformers import AutoImageProcessor
    from transformers.utils import logging

    from pepr_edge.images.preprocess import to_pixels
    from pepr_edge.records import Preprocess

    logging.set_verbosity_error()
    spec = Preprocess(channels=channels, image_size_px=48, mean=(0.5,) * channels, std=(0.25,) * channels)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(hub_preprocessor(spec)))
    noise = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    ours = to_tensor(
        to_pixels(image, channels=channels, image_size_px=48, interpolation="bilinear")[None], spec
    )
    theirs = AutoImageProcessor.from_pretrained(tmp_path)(image, return_tensors="pt")["pixel_values"]
    assert theirs.shape == ours.shape
    one_level = 1 / 255 / 0.25  # torchvision's resize differs from Pillow's by rounding
    assert np.allclose(ours, theirs.numpy(), atol=1.01 * one_level)


def test_bundles_replace_bundles_and_nothing_else(own_run: Path) -> None:
    results, ranking = load(own_run), read_record(own_run / "ranking.json", Ranking)
    out = own_run / "bundles"
    write.write_bundles(results, ranking, out, top=1)
    assert [bundle.name[:3] for bundle in bundles(own_run)] == ["01-"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"notes\.txt"):
        write.write_bundles(results, ranking, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert not list(own_run.glob(".bundles*"))


def test_a_colour_bundle_is_made_of_colour_images(finished: Path) -> None:
    spec = read_manifest(bundles(finished)[0]).preprocess
    assert hub_preprocessor(spec)["do_convert_rgb"] is False
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(bundles(finished)[0] / "model.onnx", SessionSettings())
    assert runtime.run(session, np.zeros((3, 1, 48, 48), np.float32)).shape == (3, 2)


@pytest.mark.slow
def test_anyone_can_redo_the_accuracy_from_the_manifest_alone(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RECIPE.replace('source = "phantom"', f'source = "{real_data / "breastmnist.npz"}"').replace(
        "epochs = 2", "epochs = 1"
    )
    # With refer_share the file has a second output.
    text += '[decision]\ntarget = "sensitivity >= 0.9"\nrefer_share = 0.1\n'
    small_run.carry_out(tmp_path / "run", monkeypatch, text)
    script = ROOT / "tools" / "accuracy_from_manifest.py"
    assert len(script.read_text().splitlines()) <= 70
    made = bundles(tmp_path / "run")
    assert len(made) == 2
    for bundle in made:
        command = [sys.executable, str(script), str(bundle), str(real_data / "breastmnist.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert GOOD in done.stdout
        for name in ("accuracy", "sensitivity_at_decision", "specificity_at_decision"):
            assert f"{name} computed" in done.stdout
        manifest = read_manifest(bundle)
        assert manifest.novelty is not None
        assert manifest.decision is not None
        assert manifest.decision.threshold is not None
