"""Stored figures that refer to one of two classes, when the positive class has changed since.

A training and its files do not depend on the positive class unless the metric of the ranking does (see
`run_dir.keys`), so they stay. Their recorded F1, and sensitivities and specificities, are made again from the
stored predictions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pepr_edge.records import EVALUATED_SPLITS, Artifact, Estimate, Split, TrainResult
from pepr_edge.scoring.intervals import estimate
from pepr_edge.scoring.metrics import is_one_sided
from pepr_edge.tasks import Labels, Logits


def differs(record: TrainResult | Artifact, positive: int) -> bool:
    """True if the recorded performance refers to the other one of two classes."""
    return record.candidate.num_classes == 2 and record.positive != positive


def training_with(trained: TrainResult, positive: int) -> TrainResult:
    """Return a training without the figures of the other class; its folder has no labels for new ones."""
    if not differs(trained, positive):
        return trained
    kept = {name: value for name, value in trained.performance.items() if not is_one_sided(_base(name))}
    return trained.replace(performance=kept, positive=positive)


def artifact_with(
    artifact: Artifact, predictions: Mapping[str, Logits], before: Mapping[str, Logits], positive: int
) -> Artifact:
    """Return an artifact whose performance refers to the positive class.

    Args:
        artifact: with figures of the other class.
        predictions: of the file, with the labels, as `VariantState.predictions` returns them.
        before: PyTorch's logits by split; where there are none, figures of the other class are left out.
        positive: class number of the positive class.
    """
    labels = {
        split: predictions[f"{split}_labels"].astype(np.int64)
        for split in EVALUATED_SPLITS
        if split in predictions
    }
    return artifact.replace(
        performance=_again(artifact.performance, predictions, labels, positive),
        performance_before=_again(artifact.performance_before, before, labels, positive),
        positive=positive,
    )


def _again(
    recorded: Mapping[str, Estimate],
    logits: Mapping[str, Logits],
    labels: Mapping[Split, Labels],
    positive: int,
) -> dict[str, Estimate]:
    """Return the recorded metrics, with those of one class made again."""
    made = {}
    for name, value in recorded.items():
        base = _base(name)
        if not is_one_sided(base):
            made[name] = value
            continue
        split: Split = "val" if base != name else "test"
        if split not in logits or split not in labels:
            continue
        again = estimate(base, logits[split], labels[split], split, positive=positive)
        if again is not None:
            made[name] = again
    return made


def _base(name: str) -> str:
    return name.removeprefix("val_")
