"""The decision of a variant's file, from its stored predictions, and its figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pepr_edge.records import EVALUATED_SPLITS, Decision, Estimate, Split
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.scoring.operating_point import at_decision, each_finding, fit_decision
from pepr_edge.tasks import Labels, Logits


class DecidedVariant(NamedTuple):
    """A decision, and its figures by name; None and no figures for a variant without all predictions.

    `findings`: test figures of each of several findings; empty for other tasks.
    """

    decision: Decision | None
    performance: dict[str, Estimate]
    findings: dict[str, dict[str, Estimate]]


def decide_for(results: Results, state: VariantState) -> DecidedVariant:
    """Fit the decision of a variant on validation, and apply it to test.

    Args:
        results: of the run; its recipe has the target.
        state: with predictions.
    Raises:
        RunError: the predictions are missing or torn.
    """
    predictions = state.predictions()
    if any(split not in predictions for split in EVALUATED_SPLITS):
        return DecidedVariant(None, {}, {})
    data = results.info.data
    logits: dict[Split, Logits] = {split: predictions[split] for split in EVALUATED_SPLITS}
    labels: dict[Split, Labels] = {
        split: predictions[f"{split}_labels"].astype(np.int64) for split in EVALUATED_SPLITS
    }
    decision = fit_decision(
        logits["val"],
        labels["val"],
        data.labels,
        data.positive_index,
        results.recipe.decision.target,
        data.kind,
    )
    findings = {}
    if data.kind == "multilabel":
        findings = each_finding(decision, logits["test"], labels["test"], data.labels)
    return DecidedVariant(decision, at_decision(decision, logits, labels, data.labels), findings)
