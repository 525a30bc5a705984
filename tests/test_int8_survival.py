"""tools/int8_survival.py: its lines, and one small network from end to end."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_records
import numpy as np
import onnx
import pytest
import tiny_nets

from pepr_edge import data as datasets
from pepr_edge.export.quality_gate import LogitPair, add_agreement, assess_quality
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe.resolve import data_settings
from pepr_edge.records import Preprocess, Quality, SessionSettings

TOOLS = Path(__file__).resolve().parents[1] / "tools"
if str(TOOLS) not in sys.path:
    sys.path.insert(0, str(TOOLS))
survival = importlib.import_module("int8_survival")
SETTINGS = SessionSettings()
# Pixels of mean 102 and spread 40 become the images for which the network was made.
SPEC = Preprocess(channels=1, image_size_px=tiny_nets.PX, mean=(102 / 255,), std=(40 / 255,))


def quality(wrong: int, images: int = 500) -> Quality:
    labels = np.arange(images) % 2
    before = np.eye(2, dtype=np.float32)[labels]
    after = before.copy()
    after[:wrong] = 1 - after[:wrong]
    found = assess_quality(after, before, labels, "accuracy", 0.99, SETTINGS)
    return add_agreement(found, LogitPair(after, before), LogitPair(after[:0], before[:0]))


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [(0, "passes: 100.0% kept"), (3, "with a note: 99.4% kept"), (100, "fails: 80.0% kept")],
)
def test_a_line_says_whether_a_form_passes_and_how_fast_it_is(wrong: int, verdict: str) -> None:
    form = survival.Form("int8_mixed", 2.0, "1 of 9 nodes left float32: stem", quality(wrong), 0.5)
    line = survival.line("small", form)
    assert "2.00 x float32" in line
    assert verdict in line
    assert f"{wrong} of 500 decisions differ" in line
    assert line.endswith("left float32: stem")


def test_a_line_says_why_a_form_was_not_made() -> None:
    line = survival.line("small", survival.Form("int8_mixed", 2.0, "", reason="no node has a kernel."))
    assert line.endswith("not made: no node has a kernel.")


@pytest.fixture
def subject(tmp_path: Path) -> Any:
    onnx.save(tiny_nets.convolutions(times=1000.0), tmp_path / "fp32.onnx")
    candidate = SimpleNamespace(architecture="made", in_channels=1, image_size_px=tiny_nets.PX)
    trained = SimpleNamespace(candidate=candidate, preprocess=SPEC, performance_metric="accuracy", seed=0)
    return SimpleNamespace(trained=trained, base=tmp_path / "fp32.onnx")


def test_the_forms_of_a_network_that_int8_ruins(
    subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survival, "_ratio", lambda *given: 0.5)
    pixels = np.clip(102 + 40 * tiny_nets.IMAGES, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    labels = tiny_nets.logits(subject.base, to_tensor(pixels, SPEC)).argmax(axis=1)
    info = SimpleNamespace(positive_index=1, kind="binary")
    dataset = SimpleNamespace(info=info, splits={"train": (pixels, labels), "val": (pixels, labels)})
    recipe = SimpleNamespace(export=SimpleNamespace(keep_performance=0.99))
    static, mixed = survival.survey(subject, dataset, recipe, ["int8_static", "int8_mixed"], tmp_path)
    assert not static.quality.passed
    assert mixed.quality.passed
    assert mixed.quality.flips.count < static.quality.flips.count
    assert mixed.ratio == 0.5


def test_the_positive_class_is_that_of_the_run(tmp_path: Path) -> None:
    recipe = made_records.recipe('[data]\nsource = "phantom"\nphantom_images = 60')
    info = datasets.prepare(data_settings(recipe, SPEC.image_size_px, SPEC.interpolation), tmp_path / "run")
    for positive in info.labels:
        of_run = info.replace(positive=positive, positive_by="recipe")
        results = SimpleNamespace(recipe=recipe, info=SimpleNamespace(data=of_run))
        (images,) = survival.images_of(results, None, [SPEC], tmp_path / "again").values()
        assert images.info.labels[images.info.positive_index] == positive
