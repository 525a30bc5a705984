"""Two models of BreastMNIST (32 px, 60 epochs, light augmentation), one of which has learnt nothing.

two_models.json holds their logits on validation and their costs, from a run of these settings.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import N_VAL, entry, results

from pepr_edge.ranking import rank
from pepr_edge.records import Estimate, Ranking, SplitInfo
from pepr_edge.report.terminal import conclusion, ranking_table
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring.intervals import wilson

MODELS = json.loads(Path(__file__).with_name("two_models.json").read_text(encoding="utf-8"))
USELESS = "mobilenetv2_050"
USEFUL = "resnet14t"


@pytest.fixture
def ranking(real_data: Path, tmp_path: Path) -> Ranking:
    """The ranking of the two models."""
    labels = np.load(real_data / "breastmnist.npz")["val_labels"].ravel().astype(np.int64)
    made = results(tmp_path, *(model(tmp_path, name, labels) for name in (USELESS, USEFUL)))
    splits = {
        "train": SplitInfo(images=546, class_counts=(147, 399)),
        "val": SplitInfo(images=len(labels), class_counts=(21, 57)),
    }
    data = made.info.data.replace(labels=("malignant", "benign"), splits=splits)
    return rank(replace(made, info=made.info.replace(data=data)))


def model(folder: Path, name: str, labels: np.ndarray) -> VariantState:
    """One of the models, with its figures."""
    figures = MODELS[name]
    made = entry(
        folder,
        name,
        right=N_VAL,
        joules=figures["train_energy_j"],
        latency_s=figures["latency_s"],
        memory_bytes=int(figures["peak_memory_bytes"]),
    )
    logits = np.array(figures["val_logits"], np.float32)
    np.savez(made.folder / "predictions.npz", val=logits, val_labels=labels)
    right = int((logits.argmax(axis=1) == labels).sum())
    accuracy = Estimate(value=right / len(labels), ci=wilson(right, len(labels)), split="val", n=len(labels))
    assert made.artifact is not None
    return replace(made, artifact=made.artifact.replace(performance={"val_accuracy": accuracy}))


def test_the_useful_model_is_deployed_although_the_useless_one_costs_less(ranking: Ranking) -> None:
    first, useless = ranking.rows
    assert (first.architecture, first.rank, first.status) == (USEFUL, 1, "ok")
    assert (useless.architecture, useless.rank, useless.status) == (USELESS, None, "no_skill")
    # By PePR it would be first: it costs nothing in this set, and its performance is that of the baseline.
    assert useless.performance is not None
    assert first.performance is not None
    assert useless.performance > first.performance / 2
    assert ranking.baseline is not None
    assert ranking.baseline.performance == pytest.approx(57 / 78)


def test_the_answer_names_it(ranking: Ranking) -> None:
    assert f"deploy {USEFUL}@64" in " ".join(conclusion(ranking).split())
    table = ranking_table(ranking)
    assert "Without a rank" in table
    assert USELESS in table.partition("Without a rank")[2]
