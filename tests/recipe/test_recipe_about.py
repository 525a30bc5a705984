"""The table [about] of a recipe, and its way into a run's manifest, card and report."""

from __future__ import annotations

from pathlib import Path

import made_records
import pytest
from pydantic import ValidationError

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import AboutSettings
from pepr_edge.records import ABOUT_TITLES, About
from pepr_edge.run_dir.keys import run_key, train_key


def test_the_record_and_the_table_have_the_same_keys() -> None:
    assert list(AboutSettings.model_fields) == list(About.model_fields) == list(ABOUT_TITLES)


def test_texts_of_several_lines_become_one_line() -> None:
    recipe = made_records.recipe(
        '[about]\nintended_use = """A second\n  reader."""\nreview_date = "2027-01-31"\n'
    )
    assert recipe.about.record() == About(intended_use="A second reader.", review_date="2027-01-31")
    assert made_records.recipe().about.record() is None
    assert made_records.recipe("[about]\n").about.record() is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f'intended_use = "{"x" * 601}"', "at most 600 characters"),
        (f'licence = "{"x" * 201}"', "at most 200 characters"),
        ('population = " \\n"', "not empty"),
        ('review_date = "31.1.2027"', "a date in quotes"),
        ('review_date = "2027-02-30"', "a date in quotes"),
        ("review_date = 2027-01-31", "a text in quotes"),
        ('intendeduse = "x"', "Did you mean 'intended_use'?"),
        ('contact = "a\\u001b[31m"', "control characters"),
    ],
)
def test_a_fault_is_one_line(line: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        made_records.recipe(f"[about]\n{line}\n")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["", " ", "a\nb", "a\tb", "\u202ex", "x" * 601])
def test_a_manifest_holds_no_other_texts(value: str) -> None:
    with pytest.raises(ValidationError):
        About(intended_use=value)


def test_it_is_part_of_the_bundles_and_of_no_training() -> None:
    recipe = made_records.recipe()
    said = made_records.recipe('[about]\nlicence = "CC BY 4.0"\n')
    info = made_records.info("small")
    assert run_key(recipe, ["data"], {}) == run_key(made_records.recipe("[about]\n"), ["data"], {})
    assert run_key(recipe, ["data"], {}) != run_key(said, ["data"], {})
    candidate = info.candidates[0]
    assert train_key(candidate, recipe, info.data) == train_key(candidate, said, info.data)


def test_a_run_carries_it_into_manifest_card_and_report(finished: Path) -> None:
    for bundle in sorted((finished / "bundles").iterdir()):
        manifest = read_manifest(bundle)
        assert manifest.about == About(intended_use="Tests of *pepr_edge* <alone>.")
        assert manifest.data is not None
        assert sum(manifest.data.splits["test"].class_counts) == manifest.performance["accuracy"].n
        training = manifest.provenance["training"]
        assert isinstance(training, dict)
        assert training["epochs"] == "2"
        card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert "| intended use | Tests of \\*pepr\\_edge\\* \\<alone\\>. |" in card
        assert "Not said: population, setting" in card
    assert "Tests of *pepr_edge* &lt;alone&gt;." in (finished / "report.html").read_text(encoding="utf-8")
