from __future__ import annotations

import numpy as np
import pytest

from pepr_edge.records import Estimate
from pepr_edge.scoring.metrics import confusion
from pepr_edge.scoring.subgroups import cell, figure, subgroups
from pepr_edge.tasks import Mask


def share_of(hits: list[int]):  # type: ignore[no-untyped-def]
    """Return a function that computes the share of hits of some images."""
    values = np.array(hits)

    def compute(images: Mask) -> dict[str, Estimate | None]:
        value = float(values[images].mean())
        return {"accuracy": Estimate(value=value, ci=(value, value), split="test", n=int(images.sum()))}

    return compute


@pytest.mark.parametrize(
    ("sizes", "shown", "hidden_groups", "hidden_images"),
    [
        ({"f": 6, "m": 5}, ["f", "m"], 0, None),
        ({"f": 6, "m": 4}, [], 2, 10),  # m would follow from all images and f
        ({"f": 9, "m": 6, "x": 4}, ["f"], 2, 10),
        ({"f": 9, "m": 6, "x": 4, "y": 3}, ["f", "m"], 2, 7),
        ({"f": 4}, [], 1, None),
        ({"": 7, "f": 8}, ["(no value)", "f"], 0, None),
    ],
)
def test_small_groups_are_hidden(
    sizes: dict[str, int], shown: list[str], hidden_groups: int, hidden_images: int | None
) -> None:
    values = [name for name, size in sizes.items() for _ in range(size)]
    (column,) = subgroups({"sex": values}, share_of([1] * len(values)), "accuracy")
    assert [group.group for group in column.groups] == shown
    assert (column.hidden_groups, column.hidden_images) == (hidden_groups, hidden_images)


def test_the_worst_group_is_the_one_with_the_lowest_performance() -> None:
    values = ["f"] * 5 + ["m"] * 5
    compute = share_of([1, 1, 1, 1, 1, 0, 0, 1, 1, 1])
    (column,) = subgroups({"sex": values}, compute, "accuracy")
    assert column.worst == "m"
    (column,) = subgroups({"sex": values}, compute, "accuracy", lower_is_better=True)
    assert column.worst == "f"
    (column,) = subgroups({"sex": ["f"] * 10}, compute, "accuracy")
    assert column.worst is None
    (column,) = subgroups({"sex": values}, share_of([1] * 10), "accuracy")
    assert column.worst is None  # all alike


def test_small_numbers_and_figures_of_few_images_are_none() -> None:
    assert [cell(count) for count in (0, 4, 5, 1000)] == [None, None, 5, 1000]
    few = Estimate(value=1.0, ci=(0.4, 1.0), split="test", n=4)
    assert figure(few) is None
    assert figure(few.replace(n=5)) is not None
    assert figure(None) is None


def test_confusion_of_one_class_or_of_several_findings() -> None:
    labels = np.array([0, 0, 1, 2])
    assert confusion(np.array([0, 1, 1, 0]), labels, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    findings = np.array([[1, 0], [1, 1], [0, 0]])
    decided = np.array([[1, 0], [0, 1], [0, 1]])
    assert confusion(decided, findings, 2).tolist() == [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]
