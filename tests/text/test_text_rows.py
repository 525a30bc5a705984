"""Names of rows and trainings."""

from __future__ import annotations

import made_records

from pepr_edge.text.rows import training_names


def test_a_training_is_named_by_its_seed_if_its_candidate_has_several() -> None:
    small = made_records.trained("small")
    assert training_names([small, small.replace(seed=1), made_records.trained("large")]) == [
        "small@64 seed 0",
        "small@64 seed 1",
        "large@64",
    ]
    assert training_names([]) == []
