"""The questions within a side, and groups: by size, efficiency or family, as in the paper."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pepr_edge.compare.model import Model


@dataclass(frozen=True)
class Grouping:
    """One question about two groups of models.

    Args:
        question: the question itself.
        groups: names of the first and the second group.
        subject, others: names of the second and the first group in a sentence.
        members: returns for each model if it is in the second group; None if that is not known.
    """

    question: str
    groups: tuple[str, str]
    subject: str
    others: str
    members: Callable[[Sequence[Model]], tuple[bool | None, ...]]


def groupings() -> tuple[Grouping, ...]:
    """Return the questions in their order. Source: Selvan et al. 2025, section 4."""
    return (
        Grouping("Do large models pay off?", ("small", "large"), "large models", "small", _large),
        Grouping(
            "Do efficient models pay off?", ("others", "efficient"), "efficient models", "other", _efficient
        ),
        Grouping("Do CNNs pay off?", ("others", "CNN"), "CNNs", "other", _cnn),
    )


def median_parameters(models: Sequence[Model]) -> float | None:
    """Return the median number of parameters of a side. Models above it are large."""
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
