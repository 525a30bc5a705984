"""The figures of a variant, from its records or its predictions: performances and resources."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import Estimate, Split
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring.intervals import estimate
from pepr_edge.scoring.metrics import metric as metric_of
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.scoring.resources import ResourceUse, mean_cost, of_device, of_training


def performance(entry: VariantState, metric: str, split: Split) -> Estimate | None:
    """Return a metric of a variant's ONNX file on "val" or "test": as recorded, else from its predictions.

    None if there is no file, or the metric is not defined on the split.
    """
    if entry.artifact is None:
        return None
    recorded = entry.artifact.performance.get(metric if split == "test" else f"{split}_{metric}")
    if recorded is not None:
        return recorded
    logits = entry.predictions()
    if split not in logits:
        return None
    return estimate(
        metric,
        logits[split],
        logits[f"{split}_labels"].astype(np.int64),
        split,
        positive=entry.artifact.positive,
        kind=entry.kind,
    )


def seed_performances(entry: VariantState, metric: str, split: Split) -> tuple[float, ...]:
    """Return a metric of PyTorch's models on "val" or "test", for each repeat of a training, in order.

    Empty where the metric is not defined for one of them.
    """
    name = metric if split == "test" else f"{split}_{metric}"
    labels: NDArray[np.int64] | None = None
    values = []
    for trained, folder in zip(entry.repeats, entry.repeat_folders, strict=True):
        recorded = trained.performance.get(name)
        if recorded is not None:
            values.append(recorded.value)
            continue
        if labels is None:
            labels = entry.predictions()[f"{split}_labels"].astype(np.int64)
        value = metric_of(metric, trained.positive, entry.kind)(entry.repeat_logits(folder)[split], labels)
        if math.isnan(value):
            return ()
        values.append(value)
    return tuple(values)


def resources_used(entry: VariantState, images: int | None) -> ResourceUse:
    """Return the resources that training and deployment used, in SI units, and how each was obtained.

    Values are comparable if their methods are the same: not a counter's energy with a declared one, nor their
    CO2eq, nor the memory of a GPU with that of a process. `inference_energy`, of one inference, is beside the
    resources of a score. The cost of training is that of one training: the mean over a candidate's repeats.

    Args:
        entry: one candidate in one variant.
        images: of its training split; None if not known.
    """
    values: dict[str, float | None] = dict.fromkeys((*RESOURCES, "inference_energy"))
    methods: dict[str, str] = {}
    if entry.trained is not None:
        cost = mean_cost([fair.cost for fair in entry.fair_costs])
        of_trained, its_methods = of_training(cost, images)
        values |= of_trained
        methods |= its_methods
    if entry.profile is not None:
        of_profile, its_methods = of_device(entry.profile)
        values |= of_profile
        methods |= its_methods
    return values, methods


def deployed_params(entry: VariantState) -> int | None:
    """Return the number of parameters of the deployed form; of the trained form if no other is recorded."""
    if entry.artifact is not None and entry.artifact.form is not None:
        return entry.artifact.form.deployed_params
    return entry.trained.num_params if entry.trained else None
