"""Which epoch of a learning curve is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.scoring.learning_curve import first_settled, kept_performance, unselected


@pytest.mark.parametrize(
    ("epochs", "first"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (8, 7), (10, 8), (55, 42)]
)
def test_the_last_quarter_of_the_epochs_is_settled(epochs: int, first: int) -> None:
    assert first_settled(epochs) == first


def test_the_best_of_the_settled_epochs_is_kept() -> None:
    curve = (0.5, 0.9, 0.6, 0.7, 0.8, 0.75)
    assert kept_performance(curve, 5) == 0.8
    assert kept_performance(curve[:5], 5) == 0.8
    assert kept_performance(curve[:4], 5) == 0.9  # none of them is reached
    assert kept_performance(curve, 1) == 0.9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_what_is_reached_without_a_choice_is_at_most_the_best_settled_epoch(curve: list[float]) -> None:
    assert unselected(curve) <= kept_performance(curve, first_settled(len(curve))) + 1e-12
