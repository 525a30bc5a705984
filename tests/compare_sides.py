"""Sides of a comparison made from figures, and helpers to compare them."""

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
    "Does more data pay off?",
    "more data",
    1,
    "with all instead of few of the training images",
    ("few", "all"),
)
LESS = replace(MORE, treatment=0, labels=("all", "few"))


def model(name: str, performance: float, number: int = 1) -> Model:
    """Return a model whose costs and size grow with its number."""
    resources = {"train_energy": 100.0 * number, "latency": 0.01 * number, "peak_memory": 1e8 * number}
    methods = dict.fromkeys(resources, "measured")
    return Model(name, performance, 1_000_000 * number, "CNN", False, resources, methods)


def side(values: Sequence[float]) -> Side:
    """Return a side with one model for each performance."""
    models = (model(f"m{number}@64", value, number + 1) for number, value in enumerate(values))
    return Side("made", "accuracy", tuple(models), {})


def answer(a: Side, b: Side, question: Question = MORE) -> Comparison:
    """Return the comparison of two sides."""
    inputs = ComparisonInput(a, b, question)
    return compare.compare(inputs, compare.pair(inputs))


def finding(
    comparison: Comparison, measure: str = "performance", question: str = MORE.text, side: str | None = None
) -> Finding:
    """Return the finding on a measure, a question and a side."""
    wanted = (measure, question, side)
    return next(test for test in comparison.tests if (test.measure, test.question, test.side) == wanted)


def read(a: Path, b: Path, **options: Any) -> tuple[ComparisonInput, Pairs]:
    """Read two run directories and pair their models."""
    inputs = compare.read(str(a), str(b), **options)
    return inputs, compare.pair(inputs)
