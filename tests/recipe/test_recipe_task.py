"""What a recipe says of its task, applied to the data."""

from __future__ import annotations

import made_records
import pytest

from pepr_edge.errors import RecipeError
from pepr_edge.recipe.task import with_positive

DATA = made_records.info("small").data


def test_the_record_of_the_data_names_the_positive_class() -> None:
    assert (DATA.positive_label, DATA.positive_index) == ("yes", 1)
    chosen = with_positive(DATA, made_records.recipe())
    assert (chosen.positive, chosen.positive_by) == ("yes", "name")
    chosen = with_positive(DATA, made_records.recipe('[task]\npositive = "no"'))
    assert (chosen.positive, chosen.positive_by, chosen.positive_index) == ("no", "recipe", 0)
    several = DATA.replace(labels=("a", "b", "c"))
    assert with_positive(several, made_records.recipe()) == several
    assert several.positive_label is None


@pytest.mark.parametrize(("labels", "word"), [(("no", "yes"), "'yes'"), (("a", "b", "c"), "3 classes")])
def test_a_class_that_the_data_does_not_have_is_one_line(labels: tuple[str, ...], word: str) -> None:
    with pytest.raises(RecipeError, match=r"task\.positive = 'cancer', expected") as fault:
        with_positive(DATA.replace(labels=labels), made_records.recipe('[task]\npositive = "cancer"'))
    assert word in str(fault.value)
    assert "\n" not in str(fault.value)
