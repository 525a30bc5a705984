"""The architectures that both sides have, and their PePR scores: over both sides as one set, and by side.

With one architecture in common, the pairs are its trainings of the same seed, without scores (`seeds`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.compare.model import RESOURCE_NAMES, ComparisonInput, Model, Side
from pepr_edge.compare.record import LeftOut
from pepr_edge.errors import ScoreError
from pepr_edge.scoring.pepr import RESOURCES, Models, Scoring, proportions, scores
from pepr_edge.text.units import energy

Array = NDArray[np.float64]
EDGE = "edge"
# The default weights of a recipe: training and deployment together.
EDGE_WEIGHTS = {"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}
LETTERS = {name: letter for name, (letter, _) in RESOURCES.items()}


@dataclass(frozen=True)
class Pairs:
    """The models of both sides. Row 0 of each array is A, row 1 is B; the columns are the same architectures.

    Args:
        a, b: the models, in the order of the columns.
        performance: shape (2, n).
        joint: PePR by letter, "edge" included, normalised over both sides; each of shape (2, n), NaN if a
            resource is not known.
        separate: the same, normalised over each side by itself.
        weights: of the resources in "edge".
        reasons: a sentence for each score that is left out.
        left_out: candidates that are in one side only.
    """

    a: tuple[Model, ...]
    b: tuple[Model, ...]
    performance: Array
    joint: Mapping[str, Array]
    separate: Mapping[str, Array]
    weights: Mapping[str, float]
    reasons: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def pair(inputs: ComparisonInput) -> Pairs:
    """Pair the sides by candidate, and score the pairs.

    Raises:
        ScoreError: fewer than two candidates in common.
    """
    a, b = _common_models(inputs)
    performance = np.array([_performances(a), _performances(b)])
    left_out = _left_out(inputs.a, inputs.b)
    if inputs.seeds_of is not None:
        return Pairs(a, b, performance, {}, {}, {}, (_seeds_note(inputs.seeds_of, a, b),), left_out)
    usable, reasons = _usable_resources(a, b)
    weights, weights_note = _edge_weights(inputs.a.weights, inputs.b.weights)
    reasons += weights_note
    scorings = {LETTERS[name]: Scoring({name: 1.0}) for name in usable}
    missing = [RESOURCE_NAMES[name] for name in weights if name not in usable]
    if missing:
        reasons.append(f"PePR-edge left out: it needs {', '.join(missing)}.")
    else:
        scorings[EDGE] = Scoring(weights)
    joint = {letter: _joint_scores(a, b, performance, scoring) for letter, scoring in scorings.items()}
    separate = {letter: _separate_scores(a, b, performance, scoring) for letter, scoring in scorings.items()}
    return Pairs(a, b, performance, joint, separate, weights, tuple(reasons), left_out)


def _common_models(inputs: ComparisonInput) -> tuple[tuple[Model, ...], tuple[Model, ...]]:
    first = {model.name: model for model in inputs.a.models}
    second = {model.name: model for model in inputs.b.models}
    names = [name for name in first if name in second]
    if len(names) < 2:
        left_out = _left_out(inputs.a, inputs.b)
        reasons = [f"{candidate.candidate}: {candidate.reason}" for candidate in left_out[:3]]
        more = " ..." if len(left_out) > 3 else ""
        why = f" ({'; '.join(reasons)}{more})" if reasons else ""
        raise ScoreError(
            f"{inputs.a.source} and {inputs.b.source} have {len(names)} finished candidates in common, "
            "expected at least 2; of two runs without --variant also 1 that both trained with two or more of "
            f"the same seeds (train.repeats){why}."
        )
    return tuple(first[name] for name in names), tuple(second[name] for name in names)


def _seeds_note(candidate: str, a: Sequence[Model], b: Sequence[Model]) -> str:
    """Return why there is no PePR, and what the trainings cost."""
    note = (
        f"The pairs are trainings of {candidate} with the same seeds, by PyTorch's models; they say nothing "
        "of other architectures. PePR is left out: over seeds, costs differ by chance."
    )
    usable, _ = _usable_resources(a, b)
    in_a, in_b = (float(_values(side, "train_energy").mean()) for side in (a, b))
    if "train_energy" not in usable or not in_a > 0:
        return note
    times = f"{in_b / in_a:.2f} times"
    return f"{note} Training energy, mean: {energy(in_a)} in A, {energy(in_b)} in B ({times})."


def _edge_weights(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Return the weights of "edge": the recipes', or the default with a note if the recipes differ."""
    first = proportions(a) if a else {}
    second = proportions(b) if b else {}
    if not first and not second:
        return EDGE_WEIGHTS, []
    if first.keys() == second.keys() and all(
        math.isclose(share, second[name]) for name, share in first.items()
    ):
        return {name: weight for name, weight in a.items() if weight > 0}, []
    default = ", ".join(RESOURCE_NAMES[name] for name in EDGE_WEIGHTS)
    return EDGE_WEIGHTS, [
        f"The recipes' score.weights differ (A: {_shares_text(first)}; B: {_shares_text(second)}): "
        f"PePR-edge gives {default} equal weights here."
    ]


def _shares_text(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{RESOURCE_NAMES[name]} {100 * share:.3g} %" for name, share in shares.items())


def _left_out(a: Side, b: Side) -> tuple[LeftOut, ...]:
    """Return the candidates of either side that are not compared, each with its reason."""
    left_out = []
    for letter, side, other_letter, other in (("A", a, "B", b), ("B", b, "A", a)):
        left_out += [
            LeftOut(candidate=candidate.candidate, reason=f"{letter}: {candidate.reason}")
            for candidate in side.left_out
        ]
        known = {model.name for model in other.models}
        known |= {candidate.candidate for candidate in other.left_out}
        names = {model.name for model in side.models}
        left_out += [
            LeftOut(candidate=name, reason=f"not in {other_letter}") for name in sorted(names - known)
        ]
    return tuple(left_out)


def _usable_resources(a: Sequence[Model], b: Sequence[Model]) -> tuple[list[str], list[str]]:
    """Return the resources that both sides obtained by the same method, and a sentence for each other one."""
    usable = []
    unknown = []
    reasons = []
    for name in RESOURCES:
        score = f"PePR-{LETTERS[name]}"
        methods_a = _methods(a, name)
        methods_b = _methods(b, name)
        if not methods_a and not methods_b:
            unknown.append(f"{RESOURCE_NAMES[name]} ({score})")
        elif not methods_a or not methods_b:
            known_in = "A" if methods_a else "B"
            reasons.append(f"{score} left out: {RESOURCE_NAMES[name]} is known in {known_in} alone.")
        elif len(methods_a | methods_b) > 1:
            reasons.append(
                f"{score} left out: {RESOURCE_NAMES[name]} is {' or '.join(sorted(methods_a))} in A and "
                f"{' or '.join(sorted(methods_b))} in B, which must not be mixed."
            )
        else:
            usable.append(name)
    if unknown:
        reasons.append(f"Not known in either side: {', '.join(unknown)}.")
    return usable, reasons


def _methods(models: Sequence[Model], resource: str) -> set[str]:
    return {model.methods[resource] for model in models if model.resources.get(resource) is not None}


def _performances(models: Sequence[Model]) -> list[float]:
    return [model.performance for model in models]


def _values(models: Sequence[Model], resource: str) -> Array:
    """Return a resource of each model; NaN if it is not known."""
    return np.array([model.resources.get(resource) for model in models], dtype=np.float64)


def _joint_scores(a: Sequence[Model], b: Sequence[Model], performance: Array, scoring: Scoring) -> Array:
    """Return scores over both sides as one set, shape (2, n).

    Normalised separately, the more expensive side would look as cheap as the other.
    """
    resources = {name: np.concatenate([_values(a, name), _values(b, name)]) for name in scoring.weights}
    names = [f"A {model.name}" for model in a] + [f"B {model.name}" for model in b]
    return scores(Models(tuple(names), performance.reshape(-1), resources), scoring).reshape(2, -1)


def _separate_scores(a: Sequence[Model], b: Sequence[Model], performance: Array, scoring: Scoring) -> Array:
    """Return scores over each side as a set of its own, shape (2, n), as in the paper."""
    rows = []
    for side, row in zip((a, b), performance, strict=True):
        resources = {name: _values(side, name) for name in scoring.weights}
        rows.append(scores(Models(tuple(model.name for model in side), row, resources), scoring))
    return np.array(rows)
