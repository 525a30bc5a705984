"""Exported bundles in transformers: its preprocessing and the model give what `pepr-edge predict` gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import command_line
import made_images
import numpy as np
import pytest
import small_run
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import SessionSettings

# Of an image that is resized, torchvision's pixels differ from Pillow's by rounding.
ONE_LEVEL_SHIFTS_BY = 0.03

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def made(path: Path, mode: str, size: tuple[int, int]) -> Path:
    """Write an image of a mode and a size in pixels, in the format that the path's suffix says."""
    picture = made_images.picture(7, 96, colour=mode in ("RGB", "CMYK")).resize(size)
    picture.convert(mode).save(path, quality=95)
    return path


def transformers_probabilities(bundle: Path, image: Path) -> dict[str, float]:
    """Return the probabilities by label, from the files of a bundle and two libraries alone."""
    from transformers import AutoImageProcessor
    from transformers.utils import logging

    logging.set_verbosity_error()
    manifest = read_manifest(bundle)
    colours = "L" if manifest.preprocess.channels == 1 else "RGB"
    with Image.open(image) as picture:
        prepared = AutoImageProcessor.from_pretrained(bundle)(picture.convert(colours), return_tensors="pt")
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(bundle / "model.onnx", SessionSettings())
    logits = runtime.run(session, prepared["pixel_values"].numpy())[0].astype(np.float64)
    assert manifest.decision is not None
    scaled = np.exp((logits - logits.max()) / manifest.decision.temperature)
    return dict(zip(manifest.labels, (scaled / scaled.sum()).tolist(), strict=True))


@pytest.fixture
def compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, Path], None]:
    """Return what exports the bundles of a run and compares the answers on an image."""
    pytest.importorskip("torchvision")

    def compare(run_dir: Path, image: Path) -> None:
        out = tmp_path / "bundles"
        assert command_line.run(capsys, monkeypatch, "export", run_dir, "--out", out).status == 0
        bundles = [path for path in sorted(out.iterdir()) if path.is_dir()]
        assert bundles
        for bundle in bundles:
            done = command_line.run(capsys, monkeypatch, "predict", bundle, image, "--json")
            assert done.status == 0, done.err
            [prediction] = json.loads(done.out)["predictions"]
            theirs = transformers_probabilities(bundle, image)
            assert theirs == pytest.approx(prediction["probabilities"], abs=ONE_LEVEL_SHIFTS_BY)

    return compare


@pytest.mark.parametrize(
    ("name", "mode", "size"), [("x.png", "L", (61, 50)), ("x.jpg", "L", (48, 48)), ("x.png", "P", (40, 90))]
)
def test_a_grey_bundle(
    name: str, mode: str, size: tuple[int, int], finished: Path, tmp_path: Path, compare
) -> None:
    compare(finished, made(tmp_path / name, mode, size))


@pytest.fixture(scope="module")
def colour_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run on colour images, resized by another filter than the default."""
    folder = tmp_path_factory.mktemp("colour")
    for seed in range(40):
        made_images.save(folder / "scans" / "ab"[seed % 2] / f"{seed}.png", seed, colour=True)
    text = small_run.FLAWLESS.replace('source = "phantom"', f'source = "{folder / "scans"}"')
    text = text.replace("phantom_images = 80\n", 'interpolation = "bicubic"\n').replace(
        "epochs = 2", "epochs = 1"
    )
    with pytest.MonkeyPatch.context() as patch:
        small_run.carry_out(folder / "run", patch, text)
    return folder / "run"


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [("x.png", "RGB", (61, 50)), ("x.jpg", "RGB", (48, 48)), ("x.jpg", "CMYK", (48, 48))],
)
def test_a_colour_bundle(
    name: str, mode: str, size: tuple[int, int], colour_run: Path, tmp_path: Path, compare
) -> None:
    compare(colour_run, made(tmp_path / name, mode, size))
