"""Bundles that refer images: predict, verify, and manifests or models that contradict it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import command_line
import hostile_models
import numpy as np
import onnx
import pytest
import referring_bundle
import tiny_bundle
from onnx import helper

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import BundleError, MeasurementError, NoAnswerError
from pepr_edge.field.predict import Classifier
from pepr_edge.field.verify import check
from pepr_edge.measure import selftest
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.records import Manifest, SessionSettings

PX = tiny_bundle.PX


@pytest.fixture(scope="module")
def referring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that refers images; not to be changed."""
    return referring_bundle.write(tmp_path_factory.mktemp("bundles") / "01-tiny@16-fp32")


def own(tmp_path: Path, **changes: Any) -> Path:
    return referring_bundle.write(tmp_path / "01-tiny@16-fp32", **changes)


def images(folder: Path) -> dict[str, Path]:
    """Write an image for each reason to refer it, and one for none."""
    rng = np.random.default_rng(0)
    like = referring_bundle.smooth(1, seed=5)[0]
    return {
        "": referring_bundle.image(folder / "like.png", like),
        "novelty": referring_bundle.image(folder / "noise.png", rng.integers(0, 256, (PX, PX), np.uint8)),
        "blank": referring_bundle.image(folder / "blank.png", np.full((PX, PX), 80, np.uint8)),
        "size": referring_bundle.image(folder / "small.png", like[:5]),
        "colour": referring_bundle.image(folder / "colour.png", like * np.array([0, 1, 1], np.uint8)),
    }


def test_each_reason_is_said(referring: Path, tmp_path: Path) -> None:
    with InferenceProcess() as process:
        classify = Classifier(referring, read_manifest(referring), SessionSettings(), process)
        for kind, path in images(tmp_path).items():
            referral = classify(path).referral
            assert (referral.kind if referral else "") == kind


def test_a_decision_that_is_not_sure_is_referred(tmp_path: Path) -> None:
    bundle = own(tmp_path, min_confidence=1.0)
    with InferenceProcess() as process:
        classify = Classifier(bundle, read_manifest(bundle), SessionSettings(), process)
        referral = classify(images(tmp_path)[""]).referral
    assert referral is not None
    assert (referral.kind, "limit 1.000" in referral.reason) == ("confidence", True)


def test_predict_says_refer(
    referring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = list(images(tmp_path).values())
    done = command_line.run(capsys, monkeypatch, "predict", referring, *paths)
    assert done.status == 0
    assert done.out.count("refer: ") == 4
    assert "refer: unlike the training images" in done.out
    assert "4 of 5 images for a person" in done.out
    done = command_line.run(capsys, monkeypatch, "predict", "--json", referring, *paths)
    rows = json.loads(done.out)["predictions"]
    assert [row["refer"] is None for row in rows] == [True, False, False, False, False]
    assert all(set(row) == {"image", "label", "probabilities", "refer"} for row in rows)


def test_verify_holds_the_novelty_against_the_self_test(tmp_path: Path) -> None:
    bundle = referring_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    verdict = check(bundle)
    assert verdict.reasons == []
    assert verdict.selftest is not None
    assert verdict.selftest.novelty_agrees is True
    assert verdict.fallback is not None
    assert verdict.fallback.novelty_agrees is True
    with np.load(bundle / selftest.FILE) as archive:
        arrays = dict(archive)
    arrays["novelty"] = arrays["novelty"] * 0
    np.savez_compressed(bundle / selftest.FILE, **arrays)
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    verdict = check(bundle)
    assert verdict.selftest is not None
    assert verdict.selftest.decisions_agree
    assert "refers other images" in verdict.reasons[0]


def test_openvino_refers_the_same_images(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bundle = referring_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)

    def by_openvino(manifest: Manifest) -> Manifest:
        settings = manifest.profile.settings.replace(runtime="openvino", threads=1)
        return manifest.replace(profile=manifest.profile.replace(settings=settings))

    tiny_bundle.rewrite_manifest(bundle, by_openvino)
    verdict = check(bundle)
    assert verdict.reasons == []
    assert verdict.selftest is not None
    assert verdict.selftest.novelty_agrees is True
    manifest = read_manifest(bundle)
    with InferenceProcess() as process:
        classify = Classifier(bundle, manifest, manifest.profile.settings, process)
        for kind, path in images(tmp_path).items():
            referral = classify(path).referral
            assert (referral.kind if referral else "") == kind


def test_bundles_without_limits_refer_nothing(bundle: Path, tmp_path: Path) -> None:
    with InferenceProcess() as process:
        classify = Classifier(bundle, read_manifest(bundle), SessionSettings(), process)
        assert all(classify(path).referral is None for path in images(tmp_path).values())
    assert selftest.run(bundle, read_manifest(bundle), SessionSettings()).novelty_agrees is None


REFER = {"asked": "refer_share = 0.1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"novelty": {"name": "novelty", "shape": [-1, 1]}}, "novelty is declared"),
        ({"decision": {"positive": "normal", "refer": {**REFER, "max_novelty": 1.0}}}, "not declared"),
        ({"decision": {"positive": "normal", "refer": {**REFER, "max_novelty": -1}}}, "max_novelty"),
        ({"decision": {"positive": "normal", "refer": {**REFER, "max_novelty": 1e300}}}, "max_novelty"),
        ({"decision": {"positive": "normal", "refer": {**REFER, "min_confidence": 2}}}, "min_confidence"),
        ({"decision": {"positive": "normal", "refer": {"asked": "a\nb"}}}, "decision.refer"),
        ({"decision": {"positive": "normal", "refer": {"asked": "x" * 101}}}, "decision.refer.asked"),
        (
            {"decision": {"positive": "normal", "refer": {**REFER, "no_novelty": "\x1b[1m"}}},
            "control characters",
        ),
        ({"decision": {"positive": "normal", "refer": {}}}, "decision.refer.asked"),
        ({"decision": {"positive": "normal", "refer": {**REFER, "images": {"colour": "red"}}}}, "colour"),
        (
            {"decision": {"positive": "normal", "refer": {**REFER, "images": {"min_contrast": 300}}}},
            "contrast",
        ),
        ({"decision": {"positive": "normal", "refer": {**REFER, "images": {"min_side_px": -1}}}}, "min_side"),
        ({"decision": {"positive": "normal", "refer": {**REFER, "more": 1}}}, "more"),
    ],
)
def test_limits_that_contradict_the_bundle(
    bundle: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    document = json.loads((bundle / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(BundleError) as caught:
        read_manifest(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_second_output_must_have_the_declared_shape(referring: Path, tmp_path: Path) -> None:
    document = json.loads((referring / "manifest.json").read_text())
    document["novelty"]["shape"] = [-1, 2]
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"novelty\.shape"):
        read_manifest(tmp_path)


def with_outputs(*outputs: str) -> onnx.ModelProto:
    """Return a model with the logits and these further outputs: each the expression of a node on them."""
    nodes, constants = hostile_models.head(hostile_models.INPUT)
    nodes.append(helper.make_node("Identity", ["plain"], ["logits"]))
    ports = [hostile_models.port("logits", shape=("batch", 2))]
    for number, operator in enumerate(outputs):
        name = f"more_{number}"
        options = {} if operator in ("Log", "Shape") else {"axes": [1], "keepdims": 1}
        read = "logits" if operator != "Log" else "negative"
        if operator == "Log":
            nodes.append(helper.make_node("ReduceMin", ["logits"], ["low"], axes=[1], keepdims=1))
            constants["far"] = np.float32(1e6)
            nodes.append(helper.make_node("Sub", ["low", "far"], ["negative"]))
        nodes.append(helper.make_node(operator, [read], [name], **options))
        kind = onnx.TensorProto.INT64 if operator == "Shape" else onnx.TensorProto.FLOAT
        shape = (2,) if operator == "Shape" else ("batch", 1)
        ports.append(hostile_models.port(name, kind, shape))
    return hostile_models.made(nodes, constants, outputs=ports)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (with_outputs(), "has 1 output, expected two"),
        (with_outputs("ReduceMax", "ReduceMin"), "3 outputs"),
        (with_outputs("Shape"), "its output is tensor(int64)"),
        (hostile_models.outputs(2), "shape (any, 2)"),
    ],
)
def test_a_model_whose_outputs_are_not_the_declared_ones_is_refused(
    tmp_path: Path, model: onnx.ModelProto, words: str
) -> None:
    bundle = hostile_models.spoil(own(tmp_path), model)
    with InferenceProcess() as process, pytest.raises(MeasurementError) as caught:
        Classifier(bundle, read_manifest(bundle), SessionSettings(), process)
    assert words in str(caught.value)


def test_a_novelty_that_is_no_number_is_no_answer(tmp_path: Path) -> None:
    bundle = hostile_models.spoil(own(tmp_path), with_outputs("Log"))
    with InferenceProcess() as process:
        classify = Classifier(bundle, read_manifest(bundle), SessionSettings(), process)
        with pytest.raises(NoAnswerError, match="novelty is not finite"):
            classify(images(tmp_path)[""])


def test_an_undeclared_second_output_is_refused(bundle: Path, own_bundle: Path) -> None:
    hostile_models.spoil(own_bundle, with_outputs("ReduceMax"))
    with InferenceProcess() as process, pytest.raises(MeasurementError, match="2 outputs, expected one"):
        Classifier(own_bundle, read_manifest(own_bundle), SessionSettings(), process)
