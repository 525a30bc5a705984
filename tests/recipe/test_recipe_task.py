"""What a recipe says of its task and its decision, applied to the data."""

from __future__ import annotations

import made_records
import pytest

from pepr_edge.errors import RecipeError
from pepr_edge.recipe.task import check_decision, with_positive
from pepr_edge.records import SplitInfo

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
    with pytest.raises(RecipeError, match=r"task\.positive = 'cancer', ") as fault:
        with_positive(DATA.replace(labels=labels), made_records.recipe('[task]\npositive = "cancer"'))
    assert word in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_threshold_needs_two_classes_in_validation() -> None:
    recipe = made_records.recipe('[decision]\ntarget = "sensitivity >= 0.9"')
    check_decision(DATA, recipe)
    of_one = DATA.replace(splits={**DATA.splits, "val": SplitInfo(images=9, class_counts=(9, 0))})
    with pytest.raises(RecipeError, match=r"decision\.target.*val_fraction"):
        check_decision(of_one, recipe)
    several = DATA.replace(labels=("a", "b", "c"))
    with pytest.raises(RecipeError, match=r"decision\.target.*3 classes.*argmax"):
        check_decision(several, recipe)
    for data in (of_one, several):
        check_decision(data, made_records.recipe())


def test_an_unknown_target_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r'decision\.target.*"youden".*"cost 1:5"'):
        made_records.recipe('[decision]\ntarget = "recall"')
