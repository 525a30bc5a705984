"""The record of a decision as the rule that decides. Apart from its fitting: a device needs this alone."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.records import Decision
from pepr_edge.tasks import Rule, TaskKind


def rule_of(decision: Decision | None, labels: Sequence[str]) -> Rule:
    """Return how a file decides: by the highest logit, uncalibrated, if its bundle has no decision."""
    if decision is None:
        return Rule()
    if decision.kind == "thresholds":
        return Rule(
            kind="multilabel", temperatures=decision.temperatures or (), thresholds=decision.thresholds or ()
        )
    positive = 1 if decision.positive is None else list(labels).index(decision.positive)
    kind: TaskKind = "ordinal" if decision.kind == "median" else "multiclass"
    return Rule(positive, decision.temperature, decision.threshold, kind)
