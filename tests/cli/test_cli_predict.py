from __future__ import annotations

import json
import sys
from pathlib import Path

import command_line
import hostile_models
import numpy as np
import pytest
import tiny_bundle
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.field.predict import Classifier
from pepr_edge.measure import bundle_model, inference_process
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.records import Decision, SessionSettings


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.write(tmp_path / "01-tiny@16-fp32")


def test_json_holds_each_image_with_its_label(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [tiny_bundle.image(bundle.parent / f"{seed}.png", seed) for seed in range(3)]
    done = command_line.run(capsys, monkeypatch, "predict", "--json", bundle, *images)
    assert done.status == 0
    rows = json.loads(done.out)["predictions"]
    assert [row["image"] for row in rows] == [str(image) for image in images]
    for row in rows:
        assert set(row) == {"image", "label", "probabilities"}
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1.0)


def test_an_aligned_table(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [tiny_bundle.image(bundle.parent / name) for name in ("a.png", "much_longer.png")]
    done = command_line.run(capsys, monkeypatch, "predict", bundle, *images)
    assert done.status == 0
    assert len({len(line) for line in done.out.splitlines()}) == 1
    assert done.out.splitlines()[0].split() == ["image", "label", "probability"]


def test_the_decision_of_the_bundle_is_shown(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tiny_bundle.image(bundle.parent / "a.png")
    decision = Decision(
        kind="threshold",
        positive="pneumonia",
        temperature=2.0,
        threshold=1e-9,
        target="sensitivity >= 0.90",
    )
    tiny_bundle.rewrite_manifest(bundle, lambda made: made.replace(decision=decision))
    done = command_line.run(capsys, monkeypatch, "predict", bundle, image)
    assert done.status == 0
    assert done.out.splitlines()[1].split()[1] == "pneumonia"
    assert "pneumonia is named from a probability of 0.000 on" in done.out
    done = command_line.run(capsys, monkeypatch, "predict", "--json", bundle, image)
    document = json.loads(done.out)
    assert document["decision"] == decision.model_dump(mode="json")
    probabilities = document["predictions"][0]["probabilities"]
    tiny_bundle.rewrite_manifest(bundle, lambda made: made.replace(decision=None))
    done = command_line.run(capsys, monkeypatch, "predict", "--json", bundle, image)
    assert "decision" not in json.loads(done.out)
    uncalibrated = json.loads(done.out)["predictions"][0]["probabilities"]
    odds = [np.log(values["pneumonia"] / values["normal"]) for values in (uncalibrated, probabilities)]
    assert odds[0] == pytest.approx(2 * odds[1], rel=1e-4)


def test_faults_are_reported_in_one_line(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle.parent / "text.png").write_text("no image")

    def fault(*words: object) -> str:
        done = command_line.run(capsys, monkeypatch, "predict", *words)
        assert (done.status, done.out) == (1, "")
        assert done.err.count("\n") == 1
        return done.err

    assert "not an image" in fault(bundle, bundle.parent / "text.png")
    assert "no such file" in fault(bundle, bundle.parent / "none.png")
    assert "a folder, expected an image file" in fault(bundle, bundle.parent)
    assert "no such folder" in fault(bundle.parent / "none", bundle.parent / "text.png")
    (bundle / "model.onnx").write_bytes(b"altered")
    assert "model.onnx: sha256" in fault(bundle, bundle.parent / "text.png")


def test_a_bad_image_does_not_stop_the_others(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [tiny_bundle.image(bundle.parent / f"{seed}.png", seed) for seed in range(2)]
    (bundle.parent / "text.png").write_text("no image")
    images = (good[0], bundle.parent / "text.png", good[1], bundle.parent / "none.png")

    done = command_line.run(capsys, monkeypatch, "predict", bundle, *images)
    assert done.status == 1
    assert [line.split()[0] for line in done.out.splitlines()] == ["image", *map(str, good)]
    assert [line.split(": ")[-2].split("/")[-1] for line in done.err.splitlines()] == ["text.png", "none.png"]

    done = command_line.run(capsys, monkeypatch, "predict", "--json", bundle, *images)
    assert done.status == 1
    assert [row["image"] for row in json.loads(done.out)["predictions"]] == [str(image) for image in good]
    assert done.err.count("\n") == 2


def black(path: Path) -> Path:
    Image.new("L", (16, 16)).save(path)
    return path


def test_an_image_without_a_finite_answer_has_no_label(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_models.spoil(bundle, hostile_models.nan_on_black())
    images = [tiny_bundle.image(bundle.parent / "good.png"), black(bundle.parent / "black.png")]

    done = command_line.run(capsys, monkeypatch, "predict", bundle, *images)
    assert done.status == 3
    good, none = done.out.splitlines()[1:]
    assert good.split()[1] in tiny_bundle.LABELS
    assert none.split() == [str(images[1]), "no", "answer", "-"]
    assert done.err.startswith(f"{images[1]}: no answer: ")
    assert done.err.count("\n") == 1

    done = command_line.run(capsys, monkeypatch, "predict", bundle, *images, "--json")
    assert done.status == 3
    first, second = json.loads(done.out)["predictions"]
    assert first["label"] in tiny_bundle.LABELS
    assert (second["label"], second["probabilities"]) == (None, None)
    assert second["reason"].startswith("no answer: ")
    assert "not finite" in second["reason"]


def test_a_model_that_never_answers_is_not_asked_for_every_image(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_model, "BASE_S", 0.2)
    monkeypatch.setattr(bundle_model, "SLOWER", 0.0)
    monkeypatch.setattr(inference_process, "MAX_ENDS", 1)
    hostile_models.spoil(bundle, hostile_models.endless())
    images = [tiny_bundle.image(bundle.parent / f"{seed}.png") for seed in range(15)]
    done = command_line.run(capsys, monkeypatch, "predict", bundle, *images)
    assert done.status == 3
    assert done.out.count("no answer") == 15
    assert "no answer within 0.2 s" in done.err
    assert done.err.splitlines()[-1] == "and 5 more"


def test_an_unreadable_and_an_unanswered_image_are_both_reported(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_models.spoil(bundle, hostile_models.nan_on_black())
    images = [black(bundle.parent / "black.png"), bundle.parent / "none.png"]
    done = command_line.run(capsys, monkeypatch, "predict", bundle, *images)
    assert done.status == 1
    assert "none.png: no such file" in done.err
    assert "black.png: no answer" in done.err


def test_dicom_is_classified_and_no_tag_is_printed(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pydicom")
    import made_dicom

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    pixels[0, :2] = 0, 255
    Image.fromarray(pixels).save(bundle.parent / "x.png")
    scan = made_dicom.write(bundle.parent / "IM0001", pixels)
    broken = made_dicom.write(bundle.parent / "broken.dcm", pixels, PixelData=b"12")
    done = command_line.run(
        capsys, monkeypatch, "predict", "-v", "--json", bundle, bundle.parent / "x.png", scan, broken
    )
    assert done.status == 1
    picture, same = json.loads(done.out)["predictions"]
    assert picture["probabilities"] == same["probabilities"]
    assert "broken.dcm: the DICOM file is broken" in done.err
    assert "lanted" not in done.out + done.err


def test_dicom_without_pydicom_is_reported_in_one_line(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (bundle.parent / "x.dcm").write_bytes(bytes(128) + b"DICM")
    done = command_line.run(capsys, monkeypatch, "predict", bundle, bundle.parent / "x.dcm")
    assert (done.status, done.out) == (1, "")
    assert done.err.endswith("not installed. Run pip install 'pepr_edge[dicom]'\n")
    assert done.err.count("\n") == 1


def test_wrong_usage_ends_with_2(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "predict", bundle).status == 2


def test_the_fallback_replaces_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, image = (
        tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True),
        tiny_bundle.image(tmp_path / "a.png"),
    )
    manifest = read_manifest(made)

    def first(*words: object) -> object:
        done = command_line.run(capsys, monkeypatch, "predict", made, image, "--json", *words)
        assert (done.status, done.err) == (0, "")
        return json.loads(done.out)["predictions"][0]["probabilities"]

    with InferenceProcess() as process:
        for words, fallback in (((), False), (("--fallback",), True)):
            classify = Classifier(made, manifest, SessionSettings(), process, fallback)
            assert first(*words) == classify(image).probabilities
    assert first() != first("--fallback")


def test_a_bundle_without_a_fallback_is_reported_in_one_line(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(
        capsys, monkeypatch, "predict", bundle, tiny_bundle.image(bundle.parent / "a.png"), "--fallback"
    )
    assert (done.status, done.out) == (1, "")
    assert "has no float32 fallback" in done.err
    assert done.err.count("\n") == 1


def test_settings_that_differ_from_the_workstation_are_reported(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.measured_with(bundle, provider="directml", batch=1)
    done = command_line.run(
        capsys, monkeypatch, "predict", bundle, tiny_bundle.image(bundle.parent / "a.png"), "--json"
    )
    assert done.status == 0
    assert done.err.startswith("01-tiny@16-fp32 runs on the CPU, not with directml as at home: ")
    assert done.err.count("\n") == 1
