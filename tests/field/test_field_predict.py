from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tiny_bundle
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import DataError
from pepr_edge.field.predict import Classifier
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.records import Manifest, SessionSettings


@pytest.fixture
def process() -> Iterator[InferenceProcess]:
    with InferenceProcess() as started:
        yield started


def test_anyone_can_redo_it_from_the_manifest(
    bundle: Path, manifest: Manifest, process: InferenceProcess, tmp_path: Path
) -> None:
    path = tiny_bundle.image(tmp_path / "a.png")
    prediction = Classifier(bundle, manifest, SessionSettings(), process)(path)

    spec = manifest.preprocess
    pixels = np.asarray(Image.open(path).convert("L").resize((16, 16), Image.Resampling.BILINEAR), np.float32)
    scaled = (pixels / np.float32(spec.scale) - np.float32(spec.mean[0])) / np.float32(spec.std[0])
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    logits = session.run(["logits"], {"pixel_values": scaled[None, None]})[0][0]
    exponentials = np.exp(logits - logits.max())
    probabilities = exponentials / exponentials.sum()
    assert prediction.label == manifest.labels[int(logits.argmax())]
    assert list(prediction.probabilities) == list(manifest.labels)
    assert list(prediction.probabilities.values()) == pytest.approx(probabilities.tolist(), abs=1e-5)
    assert sum(prediction.probabilities.values()) == pytest.approx(1.0)


def test_any_mode_of_image_fits_grey_and_rgb_models(process: InferenceProcess, tmp_path: Path) -> None:
    for channels in (1, 3):
        made = tiny_bundle.write(tmp_path / f"bundle{channels}", channels=channels)
        classify = Classifier(made, read_manifest(made), SessionSettings(), process)
        for mode in ("L", "RGB", "RGBA", "P", "1", "I;16"):
            Image.new(mode, (16, 16)).save(tmp_path / "a.png")
            assert classify(tmp_path / "a.png").label in tiny_bundle.LABELS


def test_an_unreadable_image_is_one_clear_line(
    bundle: Path, manifest: Manifest, process: InferenceProcess, tmp_path: Path
) -> None:
    classify = Classifier(bundle, manifest, SessionSettings(), process)
    whole = tiny_bundle.image(tmp_path / "a.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    for name, keyword in (
        ("torn.png", "corrupt"),
        ("text.png", "not an image"),
        ("none.png", "no such file"),
        (".", "a folder"),
    ):
        with pytest.raises(DataError, match=keyword) as caught:
            classify(tmp_path / name)
        assert "\n" not in str(caught.value)
