"""The second output of a file: the distance, and its nodes in every variant."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import referring_bundle
import tiny_bundle
import tiny_nets
from onnx import helper

from pepr_edge.data import phantom
from pepr_edge.errors import ExportError
from pepr_edge.export.convert import convert
from pepr_edge.export.export import Exporter
from pepr_edge.export.novelty import add_novelty, fit_novelty, novelty_of, without_novelty
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure import selftest
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import DecisionSettings
from pepr_edge.recipe.variants import load
from pepr_edge.records import Preprocess, SessionSettings
from pepr_edge.untrusted import npz, onnx_check

SPEC = Preprocess(channels=1, image_size_px=16, mean=(0.5,), std=(0.25,))
TRAINING = referring_bundle.smooth(300)
VARIANTS = ("fp32", "fp32_optimised", "fp16", "int8_static", "int8_dynamic", "int8_kernels")


def answered(path: Path, pixels: np.ndarray, spec: Preprocess = SPEC) -> np.ndarray:
    found = selftest.file_answers(path, SessionSettings(threads=1), pixels, spec).novelty
    assert found is not None
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(tiny_bundle.model(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_other_images_are_further_away(model: Path) -> None:
    add_novelty(model, fit_novelty(TRAINING, SPEC))
    rng = np.random.default_rng(1)
    own = answered(model, referring_bundle.smooth(100, seed=1))
    assert own.mean() == pytest.approx(1, abs=0.2)
    limit = np.quantile(own, 0.95)
    others = {
        "noise": rng.integers(0, 256, (20, 16, 16, 1), dtype=np.uint8),
        "weak noise": rng.integers(110, 146, (20, 16, 16, 1), dtype=np.uint8),
        "phantom": phantom.images(20, 0, 16)[0][..., None],
        "inverted": 255 - referring_bundle.smooth(20, seed=2),
        "half": np.concatenate([TRAINING[:20, :8], TRAINING[20:40, :8]], axis=1),
    }
    for name, pixels in others.items():
        assert (answered(model, pixels) > limit).mean() >= 0.95, name


def test_a_second_output_leaves_the_logits_alone_and_can_be_removed(model: Path, tmp_path: Path) -> None:
    before = tiny_bundle.logits_of(model, TRAINING[:4], SPEC)
    plain = onnx.load(model)
    assert without_novelty(model, tmp_path / "plain.onnx") == model
    add_novelty(model, fit_novelty(TRAINING, SPEC))
    assert onnx_check.fault(model) is None
    np.testing.assert_array_equal(tiny_bundle.logits_of(model, TRAINING[:4], SPEC), before)
    assert without_novelty(model, tmp_path / "plain.onnx") == tmp_path / "plain.onnx"
    assert onnx.load(tmp_path / "plain.onnx") == plain
    with pytest.raises(ExportError, match="2 outputs"):
        add_novelty(model, fit_novelty(TRAINING, SPEC))


@pytest.mark.parametrize(("px", "channels"), [(32, 1), (48, 3), (97, 1)])
def test_an_image_is_seen_as_in_the_file(px: int, channels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spec = Preprocess(channels=channels, image_size_px=px, mean=(0.4,) * channels, std=(0.2,) * channels)
    pixels = rng.integers(0, 256, (40, px, px, channels), dtype=np.uint8)
    whitening = fit_novelty(pixels, spec)
    onnx.save(tiny_bundle.model(channels, px), tmp_path / "model.onnx")
    add_novelty(tmp_path / "model.onnx", whitening)
    expected = novelty_of(to_tensor(pixels, spec), whitening)
    assert answered(tmp_path / "model.onnx", pixels, spec) == pytest.approx(expected, rel=1e-3)
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(tmp_path / "model.onnx", SessionSettings(threads=1))
    outputs = runtime.run_all(session, to_tensor(pixels[:3], spec))
    assert [output.shape for output in outputs] == [(3, 2), (3, 1)]


def test_one_image_gives_no_distance() -> None:
    with pytest.raises(ExportError, match="expected at least 2"):
        fit_novelty(TRAINING[:1], SPEC)
    equal = np.full((5, 16, 16, 1), 9, np.uint8)
    assert np.isfinite(fit_novelty(equal, SPEC).weight).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_the_same_novelty(name: str, tmp_path: Path) -> None:
    onnx.save(tiny_nets.separable(), tmp_path / "fp32.onnx")
    path = tmp_path / "model.onnx"
    convert(load(name), tmp_path / "fp32.onnx", path, tiny_nets.IMAGES)
    before = tiny_nets.logits(path)
    px = tiny_nets.IMAGES.shape[-1]
    spec = Preprocess(channels=tiny_nets.IMAGES.shape[1], image_size_px=px, mean=(0.0,), std=(1.0,))
    pixels = np.random.default_rng(0).integers(0, 256, (30, px, px, spec.channels), dtype=np.uint8)
    whitening = fit_novelty(pixels, spec)
    add_novelty(path, whitening)
    np.testing.assert_array_equal(tiny_nets.logits(path), before)
    expected = novelty_of(to_tensor(pixels, spec), whitening)
    assert answered(path, pixels, spec) == pytest.approx(expected, rel=1e-3)


def test_a_file_of_another_opset_gets_it_too(model: Path) -> None:
    made = onnx.load(model)
    del made.opset_import[:]
    made.opset_import.append(helper.make_opsetid("", 18))
    onnx.save(made, model)
    add_novelty(model, fit_novelty(TRAINING, SPEC))
    assert answered(model, TRAINING).mean() == pytest.approx(1, abs=0.01)


def test_a_recipe_that_refers_gets_the_output_in_each_file(trained: Any, tmp_path: Path) -> None:
    settings = DecisionSettings(refer_share=0.1)
    recipe = trained.recipe.model_copy(update={"decision": settings})
    source = dataclasses.replace(trained.source, recipe=recipe)
    with Exporter(source, threads=1) as exporter:
        exporter.make_base(trained.module())
        for name in ("fp32", "int8_static"):
            artifact = exporter.artifact(load(name), tmp_path / name, "key")
            assert artifact.no_novelty == ""
            stored = npz.arrays(tmp_path / name / "predictions.npz")
            assert stored["val_novelty"].shape == (len(source.labels("val")),)
            assert stored["test_contrast"].min() > 0
