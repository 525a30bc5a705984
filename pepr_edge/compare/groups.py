"""The questions within a side: which models belong to which group. As in the paper: by size, by efficiency, by family."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pepr_edge.compare.model import Model


@dataclass(frozen=True)
class Grouping:
    """One question. `members` says of each model whether it is in the second group, None where that is not known.

    `subject` and `others` name the second and the first group in a sentence.
    """

    question: str
    groups: tuple[str, str]
    subject: str
    others: str
    members: Callable[[Sequence[Model]], tuple[bool | None, ...]]


def groupings() -> tuple[Grouping, ...]:
    """The questions in their order. Source: Selvan et al. 2025, section 4."""
    return (
        Grouping("Do large models pay?", ("small", "large"), "large models", "small", _large),
        Grouping(
            "Do efficient models pay?", ("others", "efficient"), "efficient models", "other", _efficient
        ),
        Grouping("Do CNNs pay?", ("others", "CNN"), "CNNs", "other", _cnn),
    )


def median_parameters(models: Sequence[Model]) -> float | None:
    """Median number of parameters of a side; those with at most so many are its small models."""
    known = [model.num_params for model in models if model.num_params is not None]
    return statistics.median(known) if known else None


def _large(models: Sequence[Model]) -> tuple[bool | None, ...]:
    median = median_parameters(models)
    return tuple(
        None if model.num_params is None or median is None else model.num_params > median for model in models
    )


def _efficient(models: Sequence[Model]) -> tuple[bool | None, ...]:
    return tuple(model.efficient for model in models)


def _cnn(models: Sequence[Model]) -> tuple[bool | None, ...]:
    return tuple(None if model.family is None else model.family == "CNN" for model in models)
