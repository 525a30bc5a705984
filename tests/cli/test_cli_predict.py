from __future__ import annotations

import json
from pathlib import Path

import command_line
import pytest
import tiny_bundle

from pepr_edge.bundle.read import read_manifest
from pepr_edge.field.predict import Classifier
from pepr_edge.records import SessionSettings


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.write(tmp_path / "01-tiny@16-fp32")


def test_json_holds_each_image_with_its_label(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    images = [tiny_bundle.image(bundle.parent / f"{seed}.png", seed) for seed in range(3)]
    done = command_line.run(capsys, monkeypatch, "predict", "--json", bundle, *images)
    assert done.status == 0
    rows = json.loads(done.out)["predictions"]
    assert [row["image"] for row in rows] == [str(image) for image in images]
    for row in rows:
        assert set(row) == {"image", "label", "probabilities"}
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1.0)


def test_an_aligned_table(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    images = [tiny_bundle.image(bundle.parent / name) for name in ("a.png", "much_longer.png")]
    done = command_line.run(capsys, monkeypatch, "predict", bundle, *images)
    assert done.status == 0
    assert len({len(line) for line in done.out.splitlines()}) == 1
    assert done.out.splitlines()[0].split() == ["image", "label", "probability"]


def test_faults_are_one_clear_line(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_wrong_usage_ends_with_2(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line.run(capsys, monkeypatch, "predict", bundle).status == 2


def test_the_fallback_answers_in_the_models_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, image = tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True), tiny_bundle.image(tmp_path / "a.png")
    manifest = read_manifest(made)

    def first(*words: object) -> object:
        done = command_line.run(capsys, monkeypatch, "predict", made, image, "--json", *words)
        assert (done.status, done.err) == (0, "")
        return json.loads(done.out)["predictions"][0]["probabilities"]

    for words, fallback in (((), False), (("--fallback",), True)):
        assert first(*words) == Classifier(made, manifest, SessionSettings(), fallback)(image).probabilities
    assert first() != first("--fallback")


def test_a_bundle_without_a_fallback_is_one_clear_line(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "predict", bundle, tiny_bundle.image(bundle.parent / "a.png"), "--fallback")
    assert (done.status, done.out) == (1, "")
    assert "has no float32 fallback" in done.err
    assert done.err.count("\n") == 1


def test_other_settings_than_at_home_are_said(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bundle.measured_with(bundle, provider="directml", batch=1)
    done = command_line.run(capsys, monkeypatch, "predict", bundle, tiny_bundle.image(bundle.parent / "a.png"), "--json")
    assert done.status == 0
    assert done.err.startswith("01-tiny@16-fp32 runs on the CPU, not with directml as at home: ")
    assert done.err.count("\n") == 1
