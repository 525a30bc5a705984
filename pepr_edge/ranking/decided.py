"""The predictions of a run's files as their decisions, for rankings by a metric at the decision.

Each file has its own decision, fitted on its validation logits as it would be in its bundle. In place of the
logits stand those of a model that is certain of this decision, so that every metric of decisions, its
resamples and its tests are as for any other metric.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import EVALUATED_SPLITS, Decision, Split
from pepr_edge.run_dir.decisions import decide_for
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.scoring.metrics import DECISION_METRICS
from pepr_edge.scoring.operating_point import fit_decision
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Labels, Logits, decide_by

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class DecidedState(VariantState):
    """A variant whose predictions are its decisions. `results`: of its run, as they are stored."""

    results: Results | None = None

    def predictions(self, *splits: Split) -> Arrays:
        """Read the predictions, see `VariantState.predictions`, with decisions in place of logits."""
        assert self.results is not None
        logits = super().predictions(*splits)
        decision = decide_for(self.results, stored(self)).decision
        return logits if decision is None else decided(logits, decision, self.results.info.data.labels)

    def repeat_logits(self, folder: Path) -> Arrays:
        """Read the logits of a training, each with a decision of its own."""
        assert self.results is not None
        data = self.results.info.data
        logits = super().repeat_logits(folder)
        labels = super().predictions("val")["val_labels"].astype(np.int64)
        decision = _fitted(logits["val"], labels, self.results)
        return decided(logits, decision, data.labels)


def with_decisions(results: Results, metric: str) -> Results:
    """Return results whose predictions are decisions, if the metric asks for them."""
    if metric not in DECISION_METRICS:
        return results
    entries = []
    for entry in results.entries:
        values = {field.name: getattr(entry, field.name) for field in fields(VariantState)}
        entries.append(DecidedState(**values, results=results))
    return replace(results, entries=tuple(entries))


def decided(logits: Arrays, decision: Decision, names: tuple[str, ...]) -> Arrays:
    """Return predictions with 1 for the class that the decision names and 0 for the others, on each split."""
    rule = rule_of(decision, names)
    certain = np.eye(len(names), dtype=np.float32)
    splits = [split for split in EVALUATED_SPLITS if split in logits]
    return logits | {split: certain[decide_by(logits[split], rule)] for split in splits}


def stored(state: VariantState) -> VariantState:
    """Return a variant whose predictions are logits, as they are stored."""
    if not isinstance(state, DecidedState):
        return state
    return VariantState(**{field.name: getattr(state, field.name) for field in fields(VariantState)})


def _fitted(logits: Logits, labels: Labels, results: Results) -> Decision:
    data = results.info.data
    target = results.recipe.decision.target
    return fit_decision(logits, labels, data.labels, data.positive_index, target, data.kind)
