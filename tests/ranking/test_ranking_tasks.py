"""Skill and ties of grades and of several findings."""

from __future__ import annotations

from pathlib import Path

import made_records
import numpy as np
import pytest
from made_logits import found, made

from pepr_edge.errors import ScoreError
from pepr_edge.ranking import rank
from pepr_edge.ranking.robustness import with_ties
from pepr_edge.ranking.skill import SkillCheck, best_constant, constant_name, lowest_skilled
from pepr_edge.ranking.validation import Validation
from pepr_edge.records import DataInfo, RankingRow, SplitInfo
from pepr_edge.scoring.intervals import estimate
from pepr_edge.tasks import TaskKind, task_of

ROW = RankingRow(rank=None, candidate="net", architecture="net", variant="fp32", status="ok")


class Known(Validation):
    """Predictions that are given, one array for each candidate."""

    def __init__(self, labels: np.ndarray, kind: TaskKind, **given: np.ndarray) -> None:
        super().__init__((), kind=kind)
        self._labels = labels
        self._given = given

    def logits(self, row: RankingRow) -> np.ndarray:
        return self._given[row.candidate]


def info(kind: TaskKind, labels: np.ndarray, classes: int) -> DataInfo:
    counts = tuple(task_of(kind).class_counts(labels, classes).tolist())
    split = SplitInfo(images=len(labels), class_counts=counts)
    names = tuple("abcd"[:classes])
    return made_records.info("net").data.replace(
        labels=names, task=kind, splits={"train": split, "val": split, "test": split}
    )


def reason(kind: TaskKind, metric: str, logits: np.ndarray, labels: np.ndarray) -> str:
    check = SkillCheck(metric, info(kind, labels, logits.shape[1]), Known(labels, kind, net=logits), None)
    value = estimate(metric, logits, labels, "val", kind=kind)
    assert value is not None
    return check.reason(ROW.replace(performance=value.value, performance_ci=value.ci))


@pytest.mark.parametrize("metric", ["mean_auroc", "mean_average_precision"])
def test_findings_show_skill_by_their_order_of_images(metric: str) -> None:
    logits, labels = found(n=300)
    assert reason("multilabel", metric, logits, labels) == ""
    shuffled = np.random.default_rng(1).permutation(logits)
    assert "frequencies" in reason("multilabel", metric, shuffled, labels)
    assert "chance" in reason("multilabel", metric, shuffled, labels)


def test_grades_show_skill_by_their_distance() -> None:
    logits, labels = made(n=300, classes=4)
    assert reason("ordinal", "quadratic_kappa", logits, labels) == ""
    shuffled = np.random.default_rng(1).permutation(logits)
    assert "chance, 0" in reason("ordinal", "quadratic_kappa", shuffled, labels)


def test_the_best_constant_answer_of_findings_guesses_their_order() -> None:
    _, labels = found(n=100)
    counts = labels.sum(axis=0).tolist()
    constant = best_constant("mean_auroc", counts, labels, kind="multilabel", images=100)
    assert constant is not None
    assert constant.performance == 0.5
    precision = best_constant("mean_average_precision", counts, labels, kind="multilabel", images=100)
    assert precision is not None
    assert precision.performance == pytest.approx(labels.mean())
    assert "frequenc" in constant_name(0, info("multilabel", labels, 4))


def test_a_search_knows_what_shows_skill() -> None:
    _, labels = found(n=100)
    assert lowest_skilled("mean_auroc", info("multilabel", labels, 4), None)[0] == 0.5
    _, grades = made(n=100, classes=4)
    baseline, lowest = lowest_skilled("quadratic_kappa", info("ordinal", grades, 4), None)
    assert (baseline, lowest) == (0.0, pytest.approx(lowest))


def test_a_metric_of_another_task_is_refused(tmp_path: Path) -> None:
    results = made_records.results(tmp_path, made_records.entry(tmp_path, "net", right=150))
    with pytest.raises(ScoreError, match=r"mean_auroc.*accuracy"):
        rank(results, metric="mean_auroc")
    with pytest.raises(ScoreError, match=r"quadratic_kappa.*balanced_accuracy"):
        rank(results, metric="quadratic_kappa")


@pytest.mark.parametrize("kind", ["ordinal", "multilabel"])
def test_a_model_that_is_nearer_to_the_labels_is_not_tied(kind: TaskKind) -> None:
    logits, labels = found(n=300) if kind == "multilabel" else made(n=300, classes=4)
    noise = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    validation = Known(labels, kind, best=logits, alike=logits + 0.01 * noise, worse=noise)
    names = ("best", "alike", "worse")
    rows = [ROW.replace(candidate=name, rank=rank) for rank, name in enumerate(names, start=1)]
    assert [row.tied_with_best for row in with_ties(rows, validation)] == [True, True, False]
