"""The decision of a variant's file, from its stored predictions, and its figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import EVALUATED_SPLITS, DataInfo, Decision, Estimate, ImageLimits, Split
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.scoring.operating_point import at_decision, each_finding, fit_decision
from pepr_edge.scoring.refer import Observed, at_refer, coverage_curve, fit_refer
from pepr_edge.tasks import Labels, Logits

# In predictions.npz, after the name of the split and "_".
NOVELTY = "novelty"
CONTRAST = "contrast"


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
    figures = at_decision(decision, logits, labels, data.labels)
    findings = {}
    if data.kind == "multilabel":
        findings = each_finding(decision, logits["test"], labels["test"], data.labels)
    settings = results.recipe.decision
    if settings.refer is None:
        return DecidedVariant(decision, figures, findings)
    observed = _observed(predictions, logits, labels)
    refer = fit_refer(
        decision,
        observed["val"],
        data.labels,
        settings.refer_share,
        settings.max_error,
        image_limits(data),
        "" if state.artifact is None else state.artifact.no_novelty,
    )
    decision = decision.replace(refer=refer)
    return DecidedVariant(decision, figures | at_refer(decision, observed, data.labels), findings)


def coverage_of(
    results: Results, state: VariantState, decision: Decision
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the curve of `coverage_curve` on test; None if the file refers no image.

    Raises:
        RunError: the predictions are missing or torn.
    """
    if decision.refer is None:
        return None
    predictions = state.predictions()
    logits: dict[Split, Logits] = {"test": predictions["test"]}
    labels: dict[Split, Labels] = {"test": predictions["test_labels"].astype(np.int64)}
    observed = _observed(predictions, logits, labels)
    return coverage_curve(decision, observed["test"], results.info.data.labels)


def _observed(
    predictions: dict[str, NDArray[np.float32]],
    logits: dict[Split, Logits],
    labels: dict[Split, Labels],
) -> dict[Split, Observed]:
    return {
        split: Observed(
            logits[split],
            labels[split],
            predictions.get(f"{split}_{NOVELTY}"),
            predictions.get(f"{split}_{CONTRAST}"),
        )
        for split in logits
    }


def image_limits(data: DataInfo) -> ImageLimits:
    """Return what the images of the data have in common, apart from their contrast.

    An image may have half of the shortest side of any image of the data.
    """
    side = None if data.min_side_px is None else data.min_side_px // 2
    return ImageLimits(colour=data.colour, min_side_px=side)
