"""Grades in an order go the whole way: from the images to `predict`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_run
from command_line import run as command
from made_tasks import ordinal_npz
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from pepr_edge.bundle.read import read_manifest
from pepr_edge.run_dir.reader import load, read_ranking
from pepr_edge.tasks import ordinal

SOURCE = 'source = "phantom"\nphantom_images = 80'
RECIPE = small_run.FLAWLESS.replace("[export]", '[task]\nkind = "ordinal"\n[export]\nvariants = ["fp32"]')


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ordinal")
    source = ordinal_npz(folder / "grades.npz")
    with pytest.MonkeyPatch.context() as patch:
        text = RECIPE.replace(SOURCE, f'source = "{source.as_posix()}"')
        small_run.carry_out(folder / "run", patch, text)
    return folder / "run"


def test_the_ranking_is_by_quadratic_kappa(graded: Path) -> None:
    ranking = read_ranking(graded)
    assert (ranking.task, ranking.performance_metric, ranking.positive) == (
        "ordinal",
        "quadratic_kappa",
        None,
    )
    entry = load(graded).entries[0]
    predictions = entry.predictions("val")
    decisions = ordinal.decide(predictions["val"])
    labels = predictions["val_labels"].astype(int)
    expected = cohen_kappa_score(labels, decisions, weights="quadratic")
    assert ranking.rows[0].performance == pytest.approx(max(0.0, expected))
    assert entry.artifact is not None
    assert entry.artifact.performance["mean_absolute_error"].n == 30


def test_the_bundle_decides_by_the_median(
    graded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle,) = sorted((graded / "bundles").iterdir())
    manifest = read_manifest(bundle)
    assert manifest.decision is not None
    assert (manifest.decision.kind, manifest.decision.positive) == ("median", None)
    image = tmp_path / "grade.png"
    Image.fromarray(np.full((28, 28), 120, np.uint8)).save(image)
    said = command(capsys, monkeypatch, "predict", bundle, image, "--json")
    (row,) = json.loads(said.out)["predictions"]
    assert row["label"] in manifest.labels
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert command(capsys, monkeypatch, "verify", bundle).status == 0
