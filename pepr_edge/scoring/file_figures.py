"""All figures of a file on some images, at its decision."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.records import Decision, Estimate
from pepr_edge.scoring.intervals import estimate, estimates
from pepr_edge.scoring.metrics import DECISION_METRICS
from pepr_edge.scoring.operating_point import CALIBRATED, at_decision
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Labels, Logits


def all_figures(
    decision: Decision, logits: Logits, labels: Labels, names: Sequence[str]
) -> dict[str, Estimate]:
    """Return all metrics by name, as they stand in a manifest for the test images.

    Args:
        decision: of the file.
        logits: shape (n, classes).
        labels: as the decision's task has them.
        names: of the classes.
    """
    rule = rule_of(decision, names)
    made = estimates({"test": logits}, {"test": labels}, positive=rule.positive, kind=rule.kind)
    return made | at_decision(decision, {"test": logits}, {"test": labels}, names)


def group_figures(
    decision: Decision, logits: Logits, labels: Labels, names: Sequence[str], metric: str
) -> dict[str, Estimate | None]:
    """Return the figures of a group of images: a metric, and those at the decision but for calibration.

    Args:
        decision, logits, labels, names: as in `all_figures`.
        metric: the name of a metric; None where it is not defined on these images.
    """
    rule = rule_of(decision, names)
    decided = at_decision(decision, {"test": logits}, {"test": labels}, names)
    first: Estimate | None = decided.get(metric)
    if metric not in DECISION_METRICS:
        first = estimate(metric, logits, labels, "test", positive=rule.positive, kind=rule.kind)
    decided.pop(CALIBRATED, None)
    return {metric: first, **decided}
