"""Rankings by a metric at each file's own decision, and budgets for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import N_VAL, entry, recipe, results

from pepr_edge.errors import RecipeError, ScoreError
from pepr_edge.ranking import rank
from pepr_edge.ranking.answer_figures import answer_figures
from pepr_edge.recipe.checks import check_metric
from pepr_edge.recipe.task import check_decision
from pepr_edge.records import Estimate
from pepr_edge.report.terminal import conclusion
from pepr_edge.run_dir.decisions import decide_for
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.metrics import DECISION_METRICS
from pepr_edge.text.sentences import caveats, figures_sentence

TARGET = '[decision]\ntarget = "sensitivity >= 0.90"\n'
# How far the logits of the two classes are apart, in standard deviations.
APART = {"small": 1.0, "large": 3.0}


def made(folder: Path, more: str = "") -> Results:
    """A run whose models separate the classes so well, on validation and on test."""
    run = results(folder, *(entry(folder, name) for name in APART), more=TARGET + more)
    labels = np.arange(N_VAL) % 2
    for seed, (name, apart) in enumerate(APART.items()):
        rng = np.random.default_rng(seed)
        arrays = {}
        for split in ("val", "test"):
            odds = rng.normal(size=N_VAL) + apart * (labels - 0.5)
            arrays[split] = np.stack([-odds / 2, odds / 2], axis=1).astype(np.float32)
            arrays[f"{split}_labels"] = labels
        np.savez(folder / f"{name}@64" / "fp32" / "predictions.npz", **arrays)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return made(tmp_path_factory.mktemp("decided"))


@pytest.mark.parametrize("name", DECISION_METRICS)
def test_the_performance_is_that_of_each_files_decision(run: Results, name: str) -> None:
    ranking = rank(run, metric=name)
    for row in ranking.rows:
        (state,) = [one for one in run.entries if one.candidate.id == row.candidate]
        figures = decide_for(run, state).performance
        assert row.performance == pytest.approx(figures[f"val_{name}"].value)
        assert row.test_performance == pytest.approx(figures[name].value)
        low, high = row.performance_ci or (1.0, 0.0)
        assert low <= (row.performance or 0.0) <= high
    assert ranking.baseline is None
    said = " ".join(caveats(ranking))
    assert "_at_specificity" not in said
    assert "_at_sensitivity" not in said
    if name == "specificity_at_decision":
        assert [row.architecture for row in ranking.rows] == ["large", "small"]
        assert (ranking.rows[1].performance or 1.0) < 0.7 < (ranking.rows[0].performance or 0.0)


def test_the_answer_has_the_figures_of_the_first_file_at_its_decision(run: Results) -> None:
    ranking = rank(run)
    known = ranking.answer_figures
    assert known is not None
    (state,) = [one for one in run.entries if one.candidate.id == ranking.rows[0].candidate]
    decision, figures, _ = decide_for(run, state)
    assert decision is not None
    assert (known.target, known.threshold) == (decision.target, decision.threshold)
    assert {name: figure.value for name, figure in known.figures.items()} == {
        name: figures[name].value for name in ("sensitivity_at_decision", "specificity_at_decision")
    }
    said = figures_sentence(ranking)
    assert said.startswith("Test sensitivity for 'yes' 0.")
    assert ", specificity 0." in said
    assert said.endswith(f"with the threshold {decision.threshold:.3f} (target: sensitivity >= 0.90).")
    assert said in " ".join(conclusion(ranking).split())
    assert "sensitivity" not in figures_sentence(rank(run, metric="sensitivity_at_decision")).split("(t")[0]


def test_other_tasks_have_their_own_figures_in_the_answer(tmp_path: Path, run: Results) -> None:
    metrics = ("quadratic_kappa", "mean_absolute_error", "mean_auroc", "mean_average_precision")
    estimate = Estimate(value=0.5, ci=(0.4, 0.6), split="test", n=200)
    made = results(tmp_path, entry(tmp_path, "small"))
    (state,) = made.entries
    assert state.artifact is not None
    known = state.artifact.replace(performance=state.artifact.performance | dict.fromkeys(metrics, estimate))
    rows = rank(run).rows
    for kind, metric, word in (
        ("ordinal", "quadratic_kappa", "Test mean absolute error"),
        ("multilabel", "mean_auroc", "Test mean average precision 0.50 (0.40 to 0.60)."),
        ("multiclass", "accuracy", ""),
    ):
        data = made.info.data.replace(task=kind, labels=("a", "b", "c"))
        of_kind = replace(made, info=made.info.replace(data=data), entries=(replace(state, artifact=known),))
        row = rows[0].replace(candidate=state.candidate.id)
        ranking = rank(run).replace(
            performance_metric=metric, positive=None, answer_figures=answer_figures((row,), of_kind)
        )
        said = figures_sentence(ranking)
        assert said.startswith(word)
        assert bool(said) == bool(word)
    assert answer_figures((), made) is None


def test_without_predictions_the_ranking_has_no_figures_for_the_answer(tmp_path: Path) -> None:
    run = made(tmp_path)
    rows = rank(run).rows
    for path in tmp_path.rglob("predictions.npz"):
        path.unlink()
    assert answer_figures(rows, run) is None
    assert figures_sentence(rank(made(tmp_path / "other")).replace(answer_figures=None)) == ""


def test_a_budget_for_the_decisions(tmp_path: Path) -> None:
    run = made(tmp_path, "[budgets]\nmin_specificity = 0.7\nmin_sensitivity = 0.9\n")
    rows = {row.architecture: row for row in rank(run).rows}
    assert (rows["large"].status, rows["large"].rank) == ("ok", 1)
    assert (rows["small"].status, rows["small"].rank) == ("over_budget", None)
    assert "specificity of its decisions" in rows["small"].reason
    assert "budget 0.7" in rows["small"].reason
    assert "sensitivity of" not in rows["small"].reason.replace("specificity of", "")


def test_what_does_not_go_together_is_refused_in_a_line(run: Results, tmp_path: Path) -> None:
    skilled = made(tmp_path, "[score]\nskill = true\n")
    with pytest.raises(ScoreError, match="always says the same"):
        rank(skilled, metric="sensitivity_at_decision")
    named = recipe('[score]\nskill = true\nperformance = "sensitivity_at_decision"\n')
    with pytest.raises(RecipeError, match=r"score\.skill"):
        check_metric(named, run.info.data)
    three = run.info.data.replace(labels=("a", "b", "c"))
    ranked = recipe('[score]\nperformance = "npv_at_decision"\n')
    limited = recipe("[budgets]\nmin_sensitivity = 0.9\n")
    for check in (lambda: check_metric(ranked, three), lambda: check_decision(three, limited)):
        with pytest.raises(RecipeError, match="two classes") as fault:
            check()
        assert "\n" not in str(fault.value)
