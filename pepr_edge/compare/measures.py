"""The measures to test: performance and every PePR score, each set of values once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import PERFORMANCE

Array = NDArray[np.float64]
SEPARATELY = "each side by itself"
# Scores lie in [0, 1]; rounding changes them by less than this.
TOLERANCE = 1e-9
REASONS = {
    ("PePR-C", "PePR-E"): "CO2eq in proportion to energy",
    ("PePR-D", PERFORMANCE): "as many training images for all",
}


@dataclass(frozen=True)
class Measure:
    """A performance or a score: its name, and its values, shape (2, n), NaN if a model has none."""

    name: str
    values: Array


@dataclass(frozen=True)
class Measures:
    """The measures to test.

    Args:
        performance: tested for A against B and within each side.
        joint: scores over both sides as one set, for A against B.
        separate: scores over each side by itself, for A against B, without those that equal `joint`.
        within: scores over each side by itself, for the questions within a side.
        note: names the measures that are left out because they equal another; may be empty.
    """

    performance: Measure
    joint: tuple[Measure, ...]
    separate: tuple[Measure, ...]
    within: tuple[Measure, ...]
    note: str


def measures(pairs: Pairs) -> Measures:
    """Return the measures with different values: a repeated test would distort Holm's adjustment."""
    performance = Measure(PERFORMANCE, pairs.performance)
    joint, equal_joint = _distinct(performance, pairs.joint)
    within, equal_within = _distinct(performance, pairs.separate)
    separate = []
    repeated = []
    for measure in within:
        if _equal(measure.values, pairs.joint[measure.name.removeprefix("PePR-")]):
            repeated.append(measure.name)
        else:
            separate.append(measure)
    clauses = []
    if equal_joint:
        clauses.append(", ".join(equal_joint))
    if equal_within:
        clauses.append(f"with {SEPARATELY} {', '.join(equal_within)}")
    if repeated:
        clauses.append(f"of A against B {', '.join(repeated)} with {SEPARATELY} is as over both")
    note = f"The same values are tested once: {'; '.join(clauses)}." if clauses else ""
    return Measures(performance, tuple(joint), tuple(separate), tuple(within), note)


def _distinct(performance: Measure, scores: Mapping[str, Array]) -> tuple[list[Measure], list[str]]:
    """Return the scores that equal neither performance nor an earlier score, and a text about the others."""
    distinct: list[Measure] = []
    equal = []
    for letter, values in scores.items():
        measure = Measure(f"PePR-{letter}", values)
        earlier = _first_equal(measure, [performance, *distinct])
        if earlier is None:
            distinct.append(measure)
            continue
        reason = REASONS.get((measure.name, earlier.name))
        equal.append(f"{measure.name} is {earlier.name}" + (f" ({reason})" if reason else ""))
    return distinct, equal


def _first_equal(measure: Measure, others: Sequence[Measure]) -> Measure | None:
    return next((other for other in others if _equal(measure.values, other.values)), None)


def _equal(first: Array, second: Array) -> bool:
    return np.allclose(first, second, rtol=0, atol=TOLERANCE, equal_nan=True)
