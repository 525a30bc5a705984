"""Performance by subgroup, and what is hidden so that no figure stands for a few patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pepr_edge.records import MIN_CELL, Estimate, Figure, GroupResult, Subgroups
from pepr_edge.tasks import Mask

NO_VALUE = "(no value)"
# The figures of some images by name, from a mask of them.
Compute = Callable[[Mask], Mapping[str, Estimate | None]]


def figure(estimate: Estimate | None) -> Figure | None:
    """Return an estimate as reports hold it; None if it rests on too few images."""
    if estimate is None or estimate.n < MIN_CELL:
        return None
    return Figure(value=estimate.value, ci=estimate.ci)


def cell(count: int) -> int | None:
    """Return a number of images, or None if it is too small to be shown."""
    return int(count) if count >= MIN_CELL else None


def subgroups(
    columns: Mapping[str, Sequence[str]], compute: Compute, metric: str, lower_is_better: bool = False
) -> tuple[Subgroups, ...]:
    """Return the performance by the values of each column.

    Groups of fewer than MIN_CELL images are hidden. If they have fewer together, the smallest other group is
    hidden with them: it would follow from the figures of all images.

    Args:
        columns: the value of each image by column, as text; empty where there is none.
        compute: the figures of some images.
        metric: the name of the figure by which a group is the worst.
        lower_is_better: of that metric.
    """
    return tuple(
        _of_column(name, values, compute, metric, lower_is_better) for name, values in columns.items()
    )


def _of_column(
    column: str, values: Sequence[str], compute: Compute, metric: str, lower_is_better: bool
) -> Subgroups:
    named = np.array([value or NO_VALUE for value in values])
    groups, counts = np.unique(named, return_counts=True)
    order = np.argsort(counts, kind="stable")
    hidden = int((counts < MIN_CELL).sum())
    hidden_images = int(counts[order[:hidden]].sum())
    if 0 < hidden_images < MIN_CELL and hidden < len(groups):
        hidden_images += int(counts[order[hidden]])
        hidden += 1
    shown = []
    for number in sorted(order[hidden:].tolist()):
        figures = compute(named == groups[number])
        metrics = {name: figure(estimate) for name, estimate in figures.items()}
        shown.append(GroupResult(group=str(groups[number]), n=int(counts[number]), metrics=metrics))
    return Subgroups(
        column=column,
        metric=metric,
        groups=tuple(shown),
        worst=_worst(shown, metric, lower_is_better),
        hidden_groups=hidden,
        hidden_images=cell(hidden_images),
    )


def _worst(groups: Sequence[GroupResult], metric: str, lower_is_better: bool) -> str | None:
    known = {}
    for group in groups:
        of_group = group.metrics.get(metric)
        if of_group is not None:
            known[group.group] = of_group.value
    if len(known) < 2 or min(known.values()) == max(known.values()):
        return None
    return (max if lower_is_better else min)(known, key=lambda name: known[name])
