from __future__ import annotations

import json
from pathlib import Path

import command_line
import pytest
import tiny_bundle


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
