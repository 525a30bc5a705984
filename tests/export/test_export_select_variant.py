from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pepr_edge.errors import ExportError
from pepr_edge.export import select_variant as module
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.autotune import AutotuneResult
from pepr_edge.export.export import Exporter
from pepr_edge.export.select_variant import here, select_variant, selection_message
from pepr_edge.recipe.variants import load
from pepr_edge.records import Artifact, Form, SessionSettings, VariantTrial
from pepr_edge.run_dir.store import read_record

CHOSEN = SessionSettings(batch=1, arena=False)


class FakeAutotune:
    """Autotuning with a given result: the float32 file under another name."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def __call__(
        self, source: ExportSource, base: Path, variants: Any, folder: Path, on_progress: Any
    ) -> AutotuneResult:
        self.variants = variants
        if self.fault:
            raise ExportError(self.fault)
        path = folder / "fp32_optimised.onnx"
        shutil.copyfile(base, path)
        trials = (
            VariantTrial(variant="fp32", outcome="slower", reason="2 ms, the chosen variant 1 ms"),
            VariantTrial(
                variant="fp32_optimised", outcome="chosen", reason="the fastest variant that passed: 1 ms"
            ),
            VariantTrial(
                variant="int8_mixed", outcome="not tried", reason="the time budget of 1 s is used up"
            ),
        )
        return AutotuneResult(path, "fp32_optimised", CHOSEN, None, ("a note",), trials)


@pytest.fixture
def exported(trained: Any, tmp_path: Path) -> tuple[ExportSource, Artifact, Path]:
    """A candidate's folder with its float32 file."""
    with Exporter(trained.source, threads=1) as exporter:
        exporter.make_base(trained.module())
        return trained.source, exporter.artifact(load("fp32"), tmp_path / "fp32", "plain"), tmp_path


def test_the_choice_has_its_own_folder_with_every_trial(
    exported: tuple[ExportSource, Artifact, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, base, folder = exported
    fake = FakeAutotune()
    monkeypatch.setattr(module, "autotune", fake)
    (folder / ".rungs-left").mkdir()
    select_variant(source, base, folder, "a key", lambda *_: None)
    artifact = read_record(folder / "auto" / "export.json", Artifact)
    assert re.match("fp32_optimised, .* 1 ms .2 variants", selection_message(artifact))
    assert (artifact.key, artifact.variant, artifact.settings, artifact.path) == (
        "a key",
        "fp32_optimised",
        CHOSEN,
        "auto/model.onnx",
    )
    assert [trial.variant for trial in artifact.rungs] == ["fp32", "fp32_optimised", "int8_mixed"]
    assert artifact.chosen_on == here()
    assert artifact.notes == ("a note",)
    assert artifact.quality is not None
    assert artifact.quality.settings == CHOSEN
    assert {"val_accuracy", "accuracy"} <= set(artifact.performance)
    with np.load(folder / "auto" / "predictions.npz") as predictions:
        assert np.allclose(predictions["val"], source.expected["val"], atol=1e-3)
    assert read_record(folder / "fp32" / "export.json", Artifact) == base
    assert sorted(path.name for path in folder.iterdir()) == ["auto", "fp32"]
    assert fake.variants[0].name == "fp32"
    assert {"int8_static", "int8_mixed"} <= {variant.name for variant in fake.variants}


def test_the_choice_is_of_the_form_of_the_float32_file(
    exported: tuple[ExportSource, Artifact, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, base, folder = exported
    monkeypatch.setattr(module, "autotune", FakeAutotune())
    form = Form(trained_params=100, deployed_params=60)
    select_variant(source, base.replace(form=form, form_note="a reason"), folder, "a key", lambda *_: None)
    artifact = read_record(folder / "auto" / "export.json", Artifact)
    assert (artifact.form, artifact.form_note) == (form, "a reason")


def test_failed_autotuning_leaves_no_files(
    exported: tuple[ExportSource, Artifact, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, base, folder = exported
    monkeypatch.setattr(module, "autotune", FakeAutotune("no variant runs here"))
    with pytest.raises(ExportError, match="no variant runs here"):
        select_variant(source, base, folder, "a key", lambda *_: None)
    assert sorted(path.name for path in folder.iterdir()) == ["fp32"]


def test_calibration_images_are_the_same_each_time_and_of_all_classes(trained: Any) -> None:
    source = trained.source
    first, again = source.calibration(8), source.calibration(8)
    assert np.array_equal(first, again)
    assert np.array_equal(source.calibration(4), first[:4])
    every = source.calibration(10_000)
    assert len(every) == len(source.pixels("train"))
    order = [int(np.flatnonzero((source.pixels("train") == image).all(axis=(1, 2, 3)))[0]) for image in first]
    assert len(set(source.data.splits["train"][1][order])) == 2
