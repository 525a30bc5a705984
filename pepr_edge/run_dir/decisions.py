"""The decision of a variant's file, from its stored predictions, and its figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pepr_edge.records import DataInfo, Decision, Estimate, Split
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring.operating_point import at_decision, fit_decision
from pepr_edge.tasks import Labels, Logits

SPLITS: tuple[Split, ...] = ("val", "test")


class DecidedVariant(NamedTuple):
    """A decision, and its figures by name."""

    decision: Decision
    performance: dict[str, Estimate]


def decide_for(state: VariantState, data: DataInfo, target: str) -> DecidedVariant | None:
    """Fit the decision of a variant on validation, and apply it to test; None without predictions of both.

    Args:
        state: with predictions.
        data: of the run.
        target: as in the recipe.
    Raises:
        RunError: the predictions are missing or torn.
    """
    predictions = state.predictions()
    if any(split not in predictions for split in SPLITS):
        return None
    logits: dict[Split, Logits] = {split: predictions[split] for split in SPLITS}
    labels: dict[Split, Labels] = {split: predictions[f"{split}_labels"].astype(np.int64) for split in SPLITS}
    decision = fit_decision(logits["val"], labels["val"], data.labels, data.positive_index, target)
    return DecidedVariant(decision, at_decision(decision, logits, labels, data.labels))
