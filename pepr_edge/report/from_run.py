"""The report of a run directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np

from pepr_edge.errors import RunError
from pepr_edge.records import FieldReport, Ranking, StageName
from pepr_edge.report.html import ReportInput, write
from pepr_edge.report.operating_points import OperatingPoint
from pepr_edge.report.predictions import ModelPredictions
from pepr_edge.report.quantised import MAX_CANDIDATES
from pepr_edge.run_dir.decisions import coverage_of, decide_for
from pepr_edge.run_dir.reader import Results, VariantState, read_logits
from pepr_edge.scoring.rule import rule_of
from pepr_edge.text.rows import ranked_rows

MAX_OPERATING_POINTS = 10


def write_report(
    results: Results,
    ranking: Ranking,
    path: Path,
    field: Mapping[str, FieldReport] | None = None,
    force: bool = False,
    stage_times_s: Callable[[], Mapping[StageName, float]] | None = None,
) -> None:
    """Write report.html and the files of its figures from the contents of a run directory.

    Args:
        results: of the run.
        ranking: of the run, or one that uses `field`.
        path: of the page.
        field: field reports by file.
        force: also replace files that pepr_edge did not write.
        stage_times_s: returns the times of the run that is about to end; None: those in run.json.
    """
    trained = {state.candidate.id: state.trained for state in results.entries if state.trained is not None}
    repeats = {state.candidate.id: state.repeats for state in results.entries}
    content = ReportInput(
        title=results.recipe.name,
        device=results.recipe.device.name,
        budgets=results.recipe.limits(),
        data=results.info.data,
        ranking=ranking,
        trained=tuple(trained.values()),
        artifacts=tuple(state.artifact for state in results.entries if state.artifact is not None),
        profiles=tuple(state.profile for state in results.entries if state.profile is not None),
        failures=tuple(state.failure for state in results.entries if state.failure is not None),
        search=results.search,
        predictions=tuple(model_predictions(results, ranking)),
        field=field or {},
        repeats=tuple(chain.from_iterable(repeats.values())),
        stage_times_s=stage_times_s or (lambda: results.info.stage_times_s),
        settings=results.info.settings,
        weights=results.info.weights,
        operating_points=tuple(operating_points(results, ranking)),
        about=results.recipe.about.record(),
    )
    write(content, path, force)


def operating_points(results: Results, ranking: Ranking) -> Iterator[OperatingPoint]:
    """Yield the decisions of the first files by rank, without those whose predictions are missing."""
    states = {state.artifact.sha256: state for state in results.entries if state.artifact is not None}
    for row in ranked_rows(ranking)[:MAX_OPERATING_POINTS]:
        state = states.get(row.artifact_sha256 or "")
        if state is None or state.artifact is None:
            continue
        with suppress(RunError):
            decision, decided, _ = decide_for(results, state)
            if decision is not None:
                performance = state.artifact.performance | decided
                curve = coverage_of(results, state, decision)
                yield OperatingPoint(row.candidate, state.variant, decision, performance, curve)


def model_predictions(results: Results, ranking: Ranking) -> Iterator[ModelPredictions]:
    """Yield the test predictions of the first candidates by rank, without those whose files are missing."""
    rank_of = {row.artifact_sha256: row.rank or 0 for row in ranked_rows(ranking)}
    candidates = dict.fromkeys(row.candidate for row in ranked_rows(ranking))

    def rank(state: VariantState) -> int:
        sha256 = state.artifact.sha256 if state.artifact else None
        return rank_of.get(sha256, len(rank_of) + 1)

    for name in list(candidates)[:MAX_CANDIDATES]:
        states = [
            state for state in results.entries if state.candidate.id == name and state.artifact is not None
        ]
        states.sort(key=rank)
        if states:  # none if they were made from other inputs than those of the run directory
            with suppress(RunError):
                yield _read_predictions(name, states, results)


def _read_predictions(name: str, states: list[VariantState], results: Results) -> ModelPredictions:
    files = {state.variant: state.predictions() for state in states}
    labels = files[states[0].variant]["test_labels"].astype(np.int64)
    trained = read_logits(states[0].training_folder)["test"]
    logits = {variant: arrays["test"] for variant, arrays in files.items()}
    rule = rule_of(decide_for(results, states[0]).decision, results.info.data.labels)
    return ModelPredictions(name, labels, trained, logits, states[0].kind, rule)
