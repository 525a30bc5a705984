"""Sides of a comparison, made of figures, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pepr_edge import compare
from pepr_edge.compare.model import ComparisonInput, Model, Question, Side
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import Comparison, Finding

MORE = Question(
    "Does more data pay?", "more data", 1, "with all instead of few of the training images", ("few", "all")
)
LESS = replace(MORE, treatment=0, labels=("all", "few"))


def model(name: str, performance: float, number: int = 1, **changes: Any) -> Model:
    """A model whose cost and size grow with its number."""
    resources = {"train_energy": 100.0 * number, "latency": 0.01 * number, "peak_memory": 1e8 * number}
    made = Model(
        name, performance, 1_000_000 * number, "CNN", False, resources, dict.fromkeys(resources, "measured")
    )
    return replace(made, **changes)


def side(values: Sequence[float], **changes: Any) -> Side:
    return Side(
        "made",
        "accuracy",
        tuple(model(f"m{number}@64", value, number + 1) for number, value in enumerate(values)),
        {},
        **changes,
    )


def answer(a: Side, b: Side, question: Question = MORE) -> Comparison:
    both = ComparisonInput(a, b, question)
    return compare.compare(both, compare.pair(both))


def finding(
    comparison: Comparison, measure: str = "performance", question: str = MORE.text, which: str | None = None
) -> Finding:
    return next(
        found
        for found in comparison.tests
        if (found.measure, found.question, found.side) == (measure, question, which)
    )


def read(a: Path, b: Path, **options: Any) -> tuple[ComparisonInput, Pairs]:
    both = compare.read(str(a), str(b), **options)
    return both, compare.pair(both)
