"""Several findings an image go the whole way: from the images to `predict`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_run
from command_line import run as command
from made_tasks import multilabel_npz
from PIL import Image
from sklearn.metrics import roc_auc_score

from pepr_edge.bundle.read import read_manifest
from pepr_edge.run_dir.reader import load, read_ranking

SOURCE = 'source = "phantom"\nphantom_images = 80'
RECIPE = small_run.FLAWLESS.replace("[export]", '[export]\nvariants = ["fp32", "int8_static"]')


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multilabel")
    source = multilabel_npz(folder / "findings.npz")
    with pytest.MonkeyPatch.context() as patch:
        text = RECIPE.replace(SOURCE, f'source = "{source.as_posix()}"')
        small_run.carry_out(folder / "run", patch, text, figures=True)
    return folder / "run"


def test_the_ranking_is_by_mean_auroc(found: Path) -> None:
    ranking = read_ranking(found)
    assert (ranking.task, ranking.performance_metric) == ("multilabel", "mean_auroc")
    entry = next(entry for entry in load(found).entries if entry.variant == ranking.rows[0].variant)
    predictions = entry.predictions("test")
    expected = roc_auc_score(predictions["test_labels"], predictions["test"], average="macro")
    assert ranking.rows[0].test_performance == pytest.approx(expected)
    assert ranking.baseline is not None
    assert ranking.baseline.performance == 0.5
    assert entry.artifact is not None
    assert "mean_average_precision" in entry.artifact.performance


def test_the_bundle_names_findings_by_their_thresholds(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = min((found / "bundles").iterdir())
    manifest = read_manifest(bundle)
    assert manifest.task == "multilabel"
    assert manifest.decision is not None
    assert (manifest.decision.kind, manifest.decision.target) == ("thresholds", "f1")
    assert len(manifest.decision.thresholds or ()) == len(manifest.decision.temperatures or ()) == 3
    image = tmp_path / "scan.png"
    Image.fromarray(np.full((28, 28), 120, np.uint8)).save(image)
    (row,) = json.loads(command(capsys, monkeypatch, "predict", bundle, image, "--json").out)["predictions"]
    reached = zip(manifest.labels, manifest.decision.thresholds or (), strict=True)
    named = [label for label, threshold in reached if row["probabilities"][label] >= threshold]
    assert row["findings"] == named
    assert row["label"] == (", ".join(named) or "no finding")
    assert command(capsys, monkeypatch, "verify", bundle).status == 0
