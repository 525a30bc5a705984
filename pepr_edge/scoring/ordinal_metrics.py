"""Metrics of grades, which count how far a decision is from the label."""

from __future__ import annotations

import numpy as np

from pepr_edge.scoring.resampling import Counts, Floats, Resampler, View, ratio
from pepr_edge.tasks import Labels, Logits, task_of


def quadratic_kappa(logits: Logits, labels: Labels, view: View) -> Resampler:
    """Agreement of grades and decisions beyond chance, in [-1, 1], higher is better.

    A wrong decision counts by the square of the number of grades that it is away. NaN if chance alone agrees
    on all images. Source: Cohen 1968, Weighted kappa.
    """
    decisions = task_of(view.kind).decide(logits).astype(np.float64)
    truth = labels.astype(np.float64)
    # The squared distance by chance needs no table: E(a - b)^2 = Ea^2 - 2 Ea Eb + Eb^2.
    parts = np.stack([(decisions - truth) ** 2, decisions, truth, decisions**2, truth**2])

    def values(counts: Counts) -> Floats:
        n = counts.sum(axis=0, dtype=np.int64).astype(np.float64)
        distance, decided, true, decided_squares, true_squares = parts @ counts.astype(np.float64)
        by_chance = n * decided_squares - 2 * decided * true + n * true_squares
        return ratio(by_chance - n * distance, by_chance)

    return values


def mean_absolute_error(logits: Logits, labels: Labels, view: View) -> Resampler:
    """Mean number of grades between decision and label, in [0, grades - 1], lower is better."""
    distance = np.abs(task_of(view.kind).decide(logits) - labels).astype(np.float64)

    def values(counts: Counts) -> Floats:
        return ratio(distance @ counts.astype(np.float64), counts.sum(axis=0, dtype=np.int64))

    return values
