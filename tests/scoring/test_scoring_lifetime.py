from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.lifetime import Consumer, cheapest

joules = st.floats(min_value=0, max_value=1e6)
several = st.lists(st.tuples(joules, joules), min_size=1, max_size=8)


def total(one: Consumer, images: float) -> float:
    return one.training_j + images * one.inference_j


def test_training_is_shared_by_the_images() -> None:
    one = Consumer("a", training_j=100.0, inference_j=0.5)
    assert [one.per_image_j(images) for images in (1, 10, 1000)] == [100.5, 10.5, 0.6]


@pytest.mark.parametrize("images", [0, 0.5, -1, math.nan, math.inf])
def test_a_life_of_no_image_is_refused(images: float) -> None:
    with pytest.raises(ScoreError, match="expected a number >= 1"):
        Consumer("a", 1.0, 1.0).per_image_j(images)


def test_the_cheapest_changes_where_the_lines_cross() -> None:
    found = cheapest(
        [Consumer("cheap to train", 10, 1), Consumer("never", 50, 0.9), Consumer("dear to train", 110, 0.5)]
    )
    assert [(one.name, one.start, one.until) for one in found] == [
        ("cheap to train", 1, 200),
        ("dear to train", 200, None),
    ]


def test_one_that_needs_less_of_both_is_always_the_cheapest() -> None:
    assert [
        one.name for one in cheapest([Consumer("a", 10, 1), Consumer("b", 5, 0.5), Consumer("c", 5, 0.6)])
    ] == ["b"]
    assert cheapest([]) == ()


@given(several, st.floats(min_value=1, max_value=1e7))
def test_the_stretches_cover_all_and_name_the_least(lines: list[tuple[float, float]], images: float) -> None:
    consumers = [Consumer(str(number), training, answer) for number, (training, answer) in enumerate(lines)]
    found = cheapest(consumers)
    assert found[0].start == 1
    assert found[-1].until is None
    assert all(before.until == after.start for before, after in pairwise(found))
    (now,) = [one for one in found if one.start <= images and (one.until is None or images < one.until)]
    least = min(total(one, images) for one in consumers)
    assert total(consumers[int(now.name)], images) <= least * (1 + 1e-9) + 1e-6
