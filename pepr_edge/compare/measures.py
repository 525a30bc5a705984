"""What is tested: performance and every PePR, over both sides together and over each by itself, the same values once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import PERFORMANCE

Array = NDArray[np.float64]
APART = "each side by itself"
# Scores lie in [0, 1]; rounding moves them by less than this.
SAME = 1e-9
WHY = {
    ("PePR-C", "PePR-E"): "CO2eq in proportion to energy",
    ("PePR-D", PERFORMANCE): "as many training images for all",
}


@dataclass(frozen=True)
class Measure:
    """A performance or a score: its name, and its values, shape (2, n), NaN where a model has none."""

    name: str
    values: Array


@dataclass(frozen=True)
class Measures:
    """What is tested of A against B (`performance`, `together`, `apart`) and within each side (`performance`, `own`).

    `together` holds the scores over both sides, `apart` and `own` those over each by itself: `apart` without what `together` has already.
    `note` says what is left out as it is the same as another; empty where nothing is.
    """

    performance: Measure
    together: tuple[Measure, ...]
    apart: tuple[Measure, ...]
    own: tuple[Measure, ...]
    note: str


def measures(pairs: Pairs) -> Measures:
    """All measures of the pairs whose values differ: a test made twice would weigh on the others in Holm's adjustment."""
    performance = Measure(PERFORMANCE, pairs.performance)
    together, same_together = _once(performance, pairs.together)
    own, same_own = _once(performance, pairs.apart)
    again = [
        measure.name
        for measure in own
        if _same(measure.values, pairs.together[measure.name.removeprefix("PePR-")])
    ]
    apart = [measure for measure in own if measure.name not in again]
    clauses = [", ".join(same_together)] if same_together else []
    clauses += [f"with {APART} {', '.join(same_own)}"] if same_own else []
    clauses += [f"of A against B {', '.join(again)} with {APART} is as over both"] if again else []
    note = f"The same values are tested once: {'; '.join(clauses)}." if clauses else ""
    return Measures(performance, tuple(together), tuple(apart), tuple(own), note)


def _once(performance: Measure, scores: Mapping[str, Array]) -> tuple[list[Measure], list[str]]:
    """The scores that are not the same as performance or an earlier one; and in words, which others are."""
    kept: list[Measure] = []
    same = []
    for letter, values in scores.items():
        measure = Measure(f"PePR-{letter}", values)
        earlier = _like(measure, [performance, *kept])
        if earlier is None:
            kept.append(measure)
        else:
            why = WHY.get((measure.name, earlier.name))
            same.append(f"{measure.name} is {earlier.name}" + (f" ({why})" if why else ""))
    return kept, same


def _like(measure: Measure, others: Sequence[Measure]) -> Measure | None:
    """The first of the others that has the same values."""
    return next((other for other in others if _same(measure.values, other.values)), None)


def _same(one: Array, other: Array) -> bool:
    return np.allclose(one, other, rtol=0, atol=SAME, equal_nan=True)
