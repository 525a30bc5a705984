"""What a recipe asks for of images that are referred to a person."""

from __future__ import annotations

import made_records
import pytest

from pepr_edge.errors import RecipeError


@pytest.mark.parametrize(
    ("line", "asked"),
    [("refer_share = 0.1", "refer_share = 0.1"), ("max_error = 0.05", "max_error = 0.05"), ("", None)],
)
def test_what_was_asked_is_kept_as_written(line: str, asked: str | None) -> None:
    assert made_records.recipe(f"[decision]\n{line}").decision.refer == asked


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("refer_share = 0.1\nmax_error = 0.1", "not both"),
        ("refer_share = 0.9", "refer_share"),
        ("refer_share = 0", "refer_share"),
        ("max_error = 1", "max_error"),
        ('max_error = "low"', "max_error"),
    ],
)
def test_limits_that_cannot_be_kept(lines: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        made_records.recipe(f"[decision]\n{lines}")
