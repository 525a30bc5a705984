"""The figures of a comparison: their data, and alternative text for readers who cannot see them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pepr_edge.compare.groups import median_parameters
from pepr_edge.compare.model import ComparisonInput
from pepr_edge.compare.pairs import EDGE, Pairs
from pepr_edge.report.compare_plots import Dot, SlopeLine, against_parameters, slopes
from pepr_edge.report.svg import Picture
from pepr_edge.text.rows import short_names
from pepr_edge.text.units import capitalised, metric, printable, score

PERFORMANCE = "performance"
LETTERS = ("E", EDGE)
# Every name that a figure can have.
NAMES = (
    "compare_performance",
    "compare_pepr_E",
    "compare_pepr_edge",
    "compare_parameters_performance",
    "compare_parameters_pepr_E",
)


def pictures(inputs: ComparisonInput, pairs: Pairs) -> Iterator[Picture]:
    """Yield performance, PePR-E and PePR-edge in A and B, then performance and PePR-E against parameters.

    Figures without any known value are left out.
    """
    measures = {PERFORMANCE: (f"test {metric(inputs.a.metric)}", pairs.performance)}
    for letter in LETTERS:
        if letter in pairs.joint:
            measures[f"pepr_{letter}"] = (f"PePR-{letter}", pairs.joint[letter])
    for name, (title, values) in measures.items():
        if np.isfinite(values).all(axis=0).any():
            yield _slopes(inputs, pairs, name, title, values)
    for name, (title, values) in measures.items():
        if name != f"pepr_{EDGE}":
            yield from _parameters(inputs, pairs, name, title, values)


def _slopes(
    inputs: ComparisonInput, pairs: Pairs, name: str, title: str, values: NDArray[np.float64]
) -> Picture:
    known = np.isfinite(values).all(axis=0)
    names = _names(pairs)
    lines = [SlopeLine(names[column], *values[:, column].tolist()) for column in np.flatnonzero(known)]
    a, b = values[:, known].mean(axis=1).tolist()
    better = sum(line.b > line.a for line in lines)
    a_label, b_label = _labels(inputs)
    alt = (
        f"{capitalised(title)} of {len(lines)} {inputs.models_are} in {a_label} and {b_label}, "
        f"joined by lines. Mean {score(a)} in A and {score(b)} in B; higher in B in {better} of {len(lines)}."
    )
    return slopes(lines, f"compare_{name}", alt, (a_label, b_label), title)


def _parameters(
    inputs: ComparisonInput, pairs: Pairs, name: str, title: str, values: NDArray[np.float64]
) -> Iterator[Picture]:
    """Yield one figure, or none if no number of parameters is known."""
    names = _names(pairs)
    dots = []
    for side, models in enumerate((pairs.a, pairs.b)):
        for column, model in enumerate(models):
            value = float(values[side, column])
            if model.num_params and np.isfinite(value):
                millions = model.num_params / 1e6
                dots.append(Dot(names[column], side, millions, value, bool(model.efficient)))
    a_median = median_parameters(pairs.a)
    b_median = median_parameters(pairs.b)
    if len({dot.x for dot in dots}) < 2 or a_median is None or b_median is None:
        return
    a_label, b_label = _labels(inputs)
    architectures = len({dot.name for dot in dots})
    alt = (
        f"{capitalised(title)} against millions of parameters of {architectures} architectures in {a_label} "
        f"and {b_label}; efficient ones have a ring. The median, {a_median / 1e6:.3g} million in A, divides "
        "small models from large ones."
    )
    medians = (a_median / 1e6, b_median / 1e6)
    yield against_parameters(dots, f"compare_parameters_{name}", alt, (a_label, b_label), title, medians)


def _labels(inputs: ComparisonInput) -> tuple[str, str]:
    a, b = inputs.question.labels
    return _label("A", a), _label("B", b)


def _label(letter: str, label: str) -> str:
    return letter if label == letter else printable(f"{letter}: {label}")


def _names(pairs: Pairs) -> list[str]:
    """Return the names of the architectures in their order, without the size if all have the same."""
    short, _ = short_names([model.name for model in pairs.a])
    return [short[model.name] for model in pairs.a]
