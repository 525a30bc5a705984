"""Which figures a comparison shows: their data, and what a reader is told who cannot see them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pepr_edge.compare.groups import median_parameters
from pepr_edge.compare.model import ComparisonInput
from pepr_edge.compare.pairs import EDGE, Pairs
from pepr_edge.compare.sentences import capital
from pepr_edge.report.compare_plots import Dot, SlopeLine, against_parameters, slopes
from pepr_edge.report.svg import Picture
from pepr_edge.text.sentences import short_names
from pepr_edge.text.units import metric, printable, score

SHOWN = ("E", EDGE)
MEASURES = ("performance", *(f"pepr_{letter}" for letter in SHOWN))
# All that there may be of one comparison or another.
NAMES = (
    *(f"compare_{name}" for name in MEASURES),
    *(f"compare_parameters_{name}" for name in MEASURES if name != f"pepr_{EDGE}"),
)


def pictures(both: ComparisonInput, pairs: Pairs) -> Iterator[Picture]:
    """Performance, PePR-E and PePR-edge in A and B, then performance and PePR-E against parameters; what is not known is not drawn."""
    measures = {"performance": (f"test {metric(both.a.metric)}", pairs.performance)}
    measures |= {
        f"pepr_{letter}": (f"PePR-{letter}", pairs.together[letter])
        for letter in SHOWN
        if letter in pairs.together
    }
    for name, (words, values) in measures.items():
        if np.isfinite(values).all(axis=0).any():
            yield _slopes(both, pairs, name, words, values)
    for name, (words, values) in measures.items():
        if name != f"pepr_{EDGE}" and (picture := _parameters(both, pairs, name, words, values)) is not None:
            yield picture


def _slopes(
    both: ComparisonInput, pairs: Pairs, name: str, words: str, values: NDArray[np.float64]
) -> Picture:
    known = np.isfinite(values).all(axis=0)
    shown = _names(pairs)
    lines = [SlopeLine(shown[number], *values[:, number].tolist()) for number in np.flatnonzero(known)]
    a, b = values[:, known].mean(axis=1).tolist()
    better = sum(line.b > line.a for line in lines)
    a_name, b_name = _labels(both)
    alt = f"{capital(words)} of {len(lines)} architectures in {a_name} and {b_name}, joined by lines. "
    alt += f"Mean {score(a)} in A and {score(b)} in B; higher in B in {better} of {len(lines)}."
    return slopes(lines, f"compare_{name}", alt, _labels(both), words)


def _parameters(
    both: ComparisonInput, pairs: Pairs, name: str, words: str, values: NDArray[np.float64]
) -> Picture | None:
    shown = _names(pairs)
    dots = [
        Dot(shown[number], side, model.num_params / 1e6, float(values[side, number]), bool(model.efficient))
        for side, models in enumerate((pairs.a, pairs.b))
        for number, model in enumerate(models)
        if model.num_params and np.isfinite(values[side, number])
    ]
    medians = [median_parameters(models) for models in (pairs.a, pairs.b)]
    if not dots or medians[0] is None or medians[1] is None:
        return None
    a, b = _labels(both)
    alt = f"{capital(words)} against millions of parameters of {len({dot.name for dot in dots})} architectures in {a} and {b}; "
    alt += f"efficient ones ringed. The median, {medians[0] / 1e6:.3g} million in A, parts small models from large ones."
    return against_parameters(
        dots, f"compare_parameters_{name}", alt, _labels(both), words, (medians[0] / 1e6, medians[1] / 1e6)
    )


def _labels(both: ComparisonInput) -> tuple[str, str]:
    a, b = (
        label if label == letter else f"{letter}: {label}"
        for letter, label in zip("AB", both.question.labels, strict=True)
    )
    return printable(a), printable(b)


def _names(pairs: Pairs) -> list[str]:
    """Names of the architectures in their order; the size left out where all have the same."""
    short, _ = short_names([model.name for model in pairs.a])
    return [short[model.name] for model in pairs.a]
