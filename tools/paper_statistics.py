"""The tests that the PePR paper uses, and their results in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr, ttest_ind

from pepr_edge.score import Array


@dataclass(frozen=True)
class Test:
    """Student's t-test of two independent groups: their means and sizes, t and p."""

    means: tuple[float, float]
    sizes: tuple[int, int]
    t: float
    p: float

    def __str__(self) -> str:
        return (
            f"{self.means[0]:.3f} against {self.means[1]:.3f}, n = {self.sizes[0]} and {self.sizes[1]}, t = {self.t:.2f}, {p_value(self.p)}"
        )


def p_value(p: float) -> str:
    """A p-value as people write it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def t_test(one: Array, other: Array) -> Test:
    """Of two independent groups of equal variance, as the authors test."""
    found = ttest_ind(one, other)
    return Test((float(one.mean()), float(other.mean())), (len(one), len(other)), float(found.statistic), float(found.pvalue))


def split(values: Array, first: NDArray[np.bool_]) -> Test:
    """The chosen models against the others."""
    return t_test(values[first], values[~first])


def rank_correlation(one: Array, other: Array) -> tuple[float, float]:
    """Spearman's rho and its p."""
    found = spearmanr(one, other)
    return float(found.statistic), float(found.pvalue)
