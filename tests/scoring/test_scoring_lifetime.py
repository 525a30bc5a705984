from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.lifetime import Consumer, cheapest

joules = st.floats(min_value=0, max_value=1e6)
lines = st.lists(st.tuples(joules, joules), min_size=1, max_size=8)


def test_the_energy_of_training_is_divided_by_the_images() -> None:
    model = Consumer("a", training_j=100.0, inference_j=0.5)
    assert [model.per_image_j(images) for images in (1, 10, 1000)] == [100.5, 10.5, 0.6]


@pytest.mark.parametrize("images", [0, 0.5, -1, math.nan, math.inf])
def test_a_lifetime_without_images_is_an_error(images: float) -> None:
    with pytest.raises(ScoreError, match="expected a number >= 1"):
        Consumer("a", 1.0, 1.0).per_image_j(images)


def test_the_cheapest_model_changes_where_the_lines_cross() -> None:
    actual = cheapest(
        [Consumer("cheap to train", 10, 1), Consumer("never", 50, 0.9), Consumer("costly to train", 110, 0.5)]
    )
    assert [(stretch.name, stretch.start, stretch.until) for stretch in actual] == [
        ("cheap to train", 1, 200),
        ("costly to train", 200, None),
    ]


def test_a_model_that_needs_less_of_both_is_always_the_cheapest() -> None:
    actual = cheapest([Consumer("a", 10, 1), Consumer("b", 5, 0.5), Consumer("c", 5, 0.6)])
    assert [stretch.name for stretch in actual] == ["b"]
    assert cheapest([]) == ()


@given(lines, st.floats(min_value=1, max_value=1e7))
def test_the_stretches_cover_all_numbers_of_images_and_name_the_minimum(
    lines: list[tuple[float, float]], images: float
) -> None:
    consumers = [
        Consumer(str(number), training, inference) for number, (training, inference) in enumerate(lines)
    ]
    actual = cheapest(consumers)
    assert actual[0].start == 1
    assert actual[-1].until is None
    assert all(before.until == after.start for before, after in pairwise(actual))
    (current,) = [
        stretch
        for stretch in actual
        if stretch.start <= images and (stretch.until is None or images < stretch.until)
    ]
    minimum = min(model.total_j(images) for model in consumers)
    assert consumers[int(current.name)].total_j(images) <= minimum * (1 + 1e-9) + 1e-6
