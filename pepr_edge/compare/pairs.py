"""The architectures that both sides have, and their PePR scores: over both sides together, and each side by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.compare.model import RESOURCE_NAMES, Absent, ComparisonInput, Model, Side
from pepr_edge.errors import ScoreError
from pepr_edge.scoring.pepr import RESOURCES, Models, Scoring, proportions, scores

Array = NDArray[np.float64]
EDGE = "edge"
# The usual ones of a recipe: training and deployment together.
EDGE_WEIGHTS = {"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}
LETTERS = {name: letter for name, (letter, _) in RESOURCES.items()}


@dataclass(frozen=True)
class Pairs:
    """What is compared. Row 0 is A, row 1 is B; the columns are the architectures in one order, the same in both.

    `performance` has the shape (2, n). `together` and `apart` hold PePR by letter, "edge" included, each (2, n), NaN where a resource is
    not known: normalised over both sides, and over each side by itself. `weights` are those of "edge". `reasons` says which scores are
    left out and why.
    """

    a: tuple[Model, ...]
    b: tuple[Model, ...]
    performance: Array
    together: Mapping[str, Array]
    apart: Mapping[str, Array]
    weights: Mapping[str, float]
    reasons: tuple[str, ...]
    left_out: tuple[Absent, ...]


def pair(both: ComparisonInput) -> Pairs:
    """Pair the sides by candidate, and score what is in both.

    Raises:
        ScoreError: fewer than two candidates in common.
    """
    first, second = ({model.name: model for model in side.models} for side in (both.a, both.b))
    names = [name for name in first if name in second]
    left_out = _left_out(both.a, both.b)
    if len(names) < 2:
        why = "; ".join(f"{absent.name}: {absent.reason}" for absent in left_out[:3])
        more = f" ({why}{' ...' if len(left_out) > 3 else ''})" if why else ""
        raise ScoreError(
            f"{both.a.source} and {both.b.source} have {len(names)} finished candidates in common, expected at least 2{more}."
        )
    a, b = tuple(first[name] for name in names), tuple(second[name] for name in names)
    performance = np.array([[model.performance for model in side] for side in (a, b)])
    usable, reasons = _usable(a, b)
    weights, differing = _weights(both.a.weights, both.b.weights)
    reasons += differing
    settings = {LETTERS[name]: Scoring({name: 1.0}) for name in usable}
    if lacking := [RESOURCE_NAMES[name] for name in weights if name not in usable]:
        reasons.append(f"PePR-edge left out: it needs {', '.join(lacking)}.")
    else:
        settings[EDGE] = Scoring(weights)
    together = {letter: _together(a, b, performance, scoring) for letter, scoring in settings.items()}
    apart = {letter: _apart(a, b, performance, scoring) for letter, scoring in settings.items()}
    return Pairs(a, b, performance, together, apart, weights, tuple(reasons), left_out)


def _weights(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """By what resources are combined into "edge": as both recipes say where they agree; and in words, where they do not."""
    first, second = (proportions(weights) if weights else {} for weights in (a, b))
    if (
        first
        and first.keys() == second.keys()
        and all(math.isclose(share, second[name]) for name, share in first.items())
    ):
        return {name: weight for name, weight in a.items() if weight > 0}, []
    if not first and not second:
        return EDGE_WEIGHTS, []
    own = "; ".join(
        f"{letter}: {', '.join(f'{RESOURCE_NAMES[name]} {100 * share:.3g} %' for name, share in shares.items())}"
        for letter, shares in (("A", first), ("B", second))
    )
    usual = ", ".join(RESOURCE_NAMES[name] for name in EDGE_WEIGHTS)
    return EDGE_WEIGHTS, [f"The recipes' score.weights differ ({own}): PePR-edge weighs {usual} alike here."]


def _left_out(a: Side, b: Side) -> tuple[Absent, ...]:
    """Candidates of either side that are not compared, each with its reason."""
    found = []
    for letter, side, other_letter, other in (("A", a, "B", b), ("B", b, "A", a)):
        done = {model.name for model in side.models}
        found += [Absent(absent.name, f"{letter}: {absent.reason}") for absent in side.absent]
        known = {model.name for model in other.models} | {absent.name for absent in other.absent}
        found += [Absent(name, f"not in {other_letter}") for name in sorted(done - known)]
    return tuple(found)


def _usable(a: tuple[Model, ...], b: tuple[Model, ...]) -> tuple[list[str], list[str]]:
    """The resources that are known on both sides and were obtained in one way; and why the others are not used."""
    usable, unknown, reasons = [], [], []
    for name in RESOURCES:
        methods = [
            {model.methods[name] for model in side if model.resources.get(name) is not None}
            for side in (a, b)
        ]
        score = f"PePR-{LETTERS[name]}"
        if not methods[0] and not methods[1]:
            unknown.append(f"{RESOURCE_NAMES[name]} ({score})")
        elif not methods[0] or not methods[1]:
            reasons.append(
                f"{score} left out: {RESOURCE_NAMES[name]} is known in {'A' if methods[0] else 'B'} alone."
            )
        elif len(methods[0] | methods[1]) > 1:
            ways = " and ".join(
                f"{' or '.join(sorted(known))} in {letter}"
                for known, letter in zip(methods, "AB", strict=True)
            )
            reasons.append(f"{score} left out: {RESOURCE_NAMES[name]} is {ways}, which must not be mixed.")
        else:
            usable.append(name)
    if unknown:
        reasons.append(f"Not known in either: {', '.join(unknown)}.")
    return usable, reasons


def _resource(side: tuple[Model, ...], name: str) -> Array:
    return np.array(
        [np.nan if (value := model.resources.get(name)) is None else value for model in side],
        dtype=np.float64,
    )


def _together(a: tuple[Model, ...], b: tuple[Model, ...], performance: Array, scoring: Scoring) -> Array:
    """Scores over both sides as one set, (2, n): of two sets each by itself, the dearer would look as cheap as the cheaper."""
    resources = {name: np.concatenate([_resource(a, name), _resource(b, name)]) for name in scoring.weights}
    names = tuple(f"{letter} {model.name}" for letter, side in (("A", a), ("B", b)) for model in side)
    return scores(Models(names, performance.reshape(-1), resources), scoring).reshape(2, -1)


def _apart(a: tuple[Model, ...], b: tuple[Model, ...], performance: Array, scoring: Scoring) -> Array:
    """Scores over each side as a set of its own, (2, n), as in the paper."""
    rows = []
    for side, own in zip((a, b), performance, strict=True):
        resources = {name: _resource(side, name) for name in scoring.weights}
        rows.append(scores(Models(tuple(model.name for model in side), own, resources), scoring))
    return np.array(rows)
