"""The positive of two classes: by the recipe, by the names of the labels, else the second one."""

from __future__ import annotations

import pytest

from pepr_edge.tasks import PositiveClass, positive_class


@pytest.mark.parametrize(
    ("labels", "expected", "by"),
    [
        (("malignant", "normal, benign"), "malignant", "name"),
        (("cancer", "normal"), "cancer", "name"),
        (("NORMAL", "PNEUMONIA"), "PNEUMONIA", "name"),
        (("Lesion", "no_lesion"), "Lesion", "name"),
        (("abnormal", "normal"), "abnormal", "name"),
        (("malignant tumour", "benign tumour"), "malignant tumour", "name"),
        (("covid-19", "healthy"), "covid-19", "name"),
        (("non-malignant", "malignant"), "malignant", "name"),
        (("polyp-free", "polyp"), "polyp", "name"),
        # One label names an absence, and the other is no known finding.
        (("schwannoma", "normal"), "schwannoma", "name"),
        (("viral pneumonia", "bacterial pneumonia"), "bacterial pneumonia", "order"),
        (("left", "right"), "right", "order"),
        (("0", "1"), "1", "order"),
        (("", "_"), "_", "order"),
    ],
)
def test_a_proposal_is_by_name_else_the_second(labels: tuple[str, str], expected: str, by: str) -> None:
    assert positive_class(labels) == PositiveClass(expected, by)  # type: ignore[arg-type]
    if by == "name":
        assert positive_class(labels[::-1]) == (expected, by)


def test_the_recipe_decides() -> None:
    assert positive_class(("malignant", "benign"), "benign") == ("benign", "recipe")
    assert positive_class(("a", "b", "malignant")) is None
    with pytest.raises(ValueError, match="'malignant', 'benign'"):
        positive_class(("malignant", "benign"), "Benign")
    with pytest.raises(ValueError, match="3 classes"):
        positive_class(("a", "b", "c"), "a")
