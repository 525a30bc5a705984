"""Recorded figures of one class, after the positive class has changed."""

from __future__ import annotations

from pathlib import Path

import made_records
import numpy as np
import pytest

from pepr_edge.ranking import rank
from pepr_edge.records import RunInfo
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.scoring.intervals import estimates
from pepr_edge.scoring.metrics import is_one_sided

N = 200


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with predictions and figures of the second class, which a recipe of 0.1 calls positive."""
    folder = made_records.write_run(tmp_path, "small") / "candidates" / "small@64"
    rng = np.random.default_rng(0)
    labels = {"val": np.arange(N) % 2, "test": (np.arange(N) % 3 == 0).astype(np.int64)}
    logits = {
        split: (np.eye(2)[of_split] * 1.5 + rng.normal(size=(N, 2)) + [0.4, 0]).astype(np.float32)
        for split, of_split in labels.items()
    }
    np.savez(folder / "logits.npz", **logits)
    arrays = {f"{split}_labels": of_split for split, of_split in labels.items()}
    np.savez(folder / "fp32" / "predictions.npz", **logits, **arrays)
    figures = estimates(logits, labels)  # type: ignore[arg-type]
    state = load(tmp_path).entries[0]
    assert state.trained is not None
    assert state.artifact is not None
    write_record(folder / "train.json", state.trained.replace(performance=figures))
    recorded = state.artifact.replace(performance=figures, performance_before=figures)
    write_record(folder / "fp32" / "export.json", recorded)
    return tmp_path


def change_positive(run: Path, label: str) -> None:
    info = read_record(run / "run.json", RunInfo)
    write_record(run / "run.json", info.replace(data=info.data.replace(positive=label, positive_by="recipe")))


def test_figures_follow_the_positive_class_and_nothing_is_trained_again(run: Path) -> None:
    before = load(run).entries[0]
    ranking = rank(load(run), metric="f1")
    assert (ranking.positive, ranking.positive_by) == ("yes", None)
    change_positive(run, "no")
    after = load(run).entries[0]
    assert before.artifact is not None
    assert after.artifact is not None
    assert after.trained is not None
    assert after.artifact.key == before.artifact.key
    for old, new in (
        (before.artifact.performance, after.artifact.performance),
        (before.artifact.performance_before, after.artifact.performance_before),
    ):
        assert old.keys() == new.keys()
        for name, value in old.items():
            assert (new[name] == value) == (not is_one_sided(name.removeprefix("val_"))), name
        assert new["sensitivity_at_specificity"].value == old["specificity_at_sensitivity"].value
    mirrored = rank(load(run), metric="f1")
    assert (mirrored.positive, mirrored.positive_by) == ("no", "recipe")
    assert mirrored.rows[0].performance == pytest.approx(after.artifact.performance["val_f1"].value)
    assert mirrored.rows[0].performance != ranking.rows[0].performance
    change_positive(run, "yes")
    assert load(run).entries[0].artifact == before.artifact


def test_a_metric_without_a_record_follows_it_too(run: Path) -> None:
    of_second = rank(load(run), metric="sensitivity_at_specificity_0.8").rows[0].performance
    change_positive(run, "no")
    mirrored = rank(load(run), metric="specificity_at_sensitivity_0.8").rows[0].performance
    assert mirrored == of_second
