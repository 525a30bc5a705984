"""Absurd values of the recipe's keys that say what the images and the model are: each is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hostile_check import Row, Run, try_row, write
from made_records import RECIPE

from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.untrusted.shown import is_plain

# Each key, with a value that it takes.
KEYS: dict[str, str] = {
    "about.intended_use": '"Second reader."',
    "about.licence": '"CC BY 4.0"',
    "about.review_date": '"2027-01-31"',
    "task.kind": '"binary"',
    "task.order": '["a", "b", "c"]',
    "task.positive": '"a"',
    "decision.target": '"sensitivity >= 0.9"',
    "decision.refer_share": "0.1",
    "decision.max_error": "0.05",
    "data.subgroups": '["sex"]',
    "data.findings": '["edema", "effusion"]',
    "data.columns": '{label = "dx"}',
    "data.separator": '"|"',
    "data.raters": "true",
    "data.grey_bits": "12",
    "train.repeats": "3",
    "train.teacher": '"best"',
    "candidates.weights": '"scratch"',
    "candidates.weights_dir": '"."',
    "profile.rules": '"full"',
    "score.floor": "0.6",
    "score.skill": "true",
    "bundles.top": "3",
}
# A class and a path may have any length; whether they are there is told later.
LONG = "a text of 60,000 letters"
OF_ANY_LENGTH = ("task.positive", "candidates.weights", "candidates.weights_dir")
# What no key takes.
NEVER: dict[str, str] = {
    "10^400": "1" + "0" * 400,
    "-10^400": "-1" + "0" * 400,
    "2^63": str(2**63),
    "NaN": "nan",
    "infinity": "inf",
    "1e999": "1e999",
    "lists 60 deep": "[" * 60 + "]" * 60,
    "lists 10,000 deep": "[" * 10_000 + "]" * 10_000,
    "a table of tables": '{a = {b = {c = "d"}}}',
    "an unknown key": "{surprise = 1}",
    "a date": "2027-01-31",
    "a list of numbers": "[-1, 1e300, nan]",
    LONG: json.dumps("x" * 60_000),
    "a text with an escape sequence": json.dumps("\x1b[2J"),
    "a text with a mark of direction": '"a\u202eb"',
    "a text with an invisible character": '"a\u200bb"',
    "half of a surrogate pair": '"\\ud800"',
    "NUL": '"\\u0000"',
    "twice": "1\n{key} = 2",
    "nothing": "",
}
ABOVE = {"10^400": "64 bits", "-10^400": "64 bits", "2^63": "64 bits", "lists 10,000 deep": "nested"}
MORE: dict[str, tuple[str, str]] = {
    "a date in 2027 that is none": ('[about]\nreview_date = "2027-02-30"', "date"),
    "a date of other digits": ('[about]\nreview_date = "\uff12027-01-31"', "date"),
    "an empty purpose": ('[about]\nintended_use = " "', "not empty"),
    "a purpose of 601 letters": (f'[about]\nintended_use = "{"x" * 601}"', "600"),
    "a target of 10^400": (f'[decision]\ntarget = "sensitivity >= 1{"0" * 400}"', "target"),
    "a target that is NaN": ('[decision]\ntarget = "sensitivity >= nan"', "target"),
    "a target of 1e-999": ('[decision]\ntarget = "sensitivity >= 1e-999"', "target"),
    "a target of two parts": ('[decision]\ntarget = "sensitivity >= 0.9 >= 0.8"', "target"),
    "a target of other digits": ('[decision]\ntarget = "sensitivity >= \u0660.\u0669"', ""),
    "two ways to refer": ("[decision]\nrefer_share = 0.1\nmax_error = 0.1", "not both"),
    "an empty grade": ('[task]\norder = ["a", ""]', "order"),
    "11 subgroups": (f"[data]\nsubgroups = {[f'c{n}' for n in range(11)]}", "subgroups"),
    "a subgroup of 101 letters": (f'[data]\nsubgroups = ["{"x" * 101}"]', "100"),
    "an empty subgroup": ('[data]\nsubgroups = [""]', "subgroups"),
    "1,001 findings": (f"[data]\nfindings = {[f'c{n}' for n in range(1001)]}", "findings"),
    "a column of nobody": ('[data.columns]\nweight = "x"', "columns"),
    "a separator of 9 letters": ('[data]\nseparator = "123456789"', "separator"),
    "a weights file that is a device": ('[candidates]\nweights = "/dev/zero"', ""),
    "a weights folder that is a file": ('[candidates]\nweights_dir = "made.toml"', "no such folder"),
    "a billion repeats": ("[train]\nrepeats = 1000000000", ""),
}


# An architecture of the zoo, so that nothing else is wrong with the recipe.
GOOD = RECIPE.replace('"small", "middle", "large"', '"resnet14t"')


def with_lines(lines: str) -> bytes:
    """Return a recipe with a table more, or with keys more in a table that it has."""
    head, _, rest = lines.partition("\n")
    if f"{head}\n" in GOOD:
        return GOOD.replace(f"{head}\n", f"{head}\n{rest}\n").encode()
    return f"{GOOD}{lines}\n".encode()


def with_value(path: str, value: str) -> bytes:
    table, _, key = path.partition(".")
    return with_lines(f"[{table}]\n{key} = {value.replace('{key}', key)}")


CHECK = ("recipes", "check", "made.toml")
ROWS = {
    **{
        f"repeats are {name}": Row(
            CHECK, 1, ABOVE.get(name, ""), "made.toml", write(with_value("train.repeats", value))
        )
        for name, value in NEVER.items()
    },
    **{
        name: Row(CHECK, 1 if word else (0, 1), word, "made.toml", write(with_lines(lines)))
        for name, (lines, word) in MORE.items()
    },
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ROWS)
def test_a_value_that_cannot_be(name: str, here: Path, run: Run) -> None:
    try_row(ROWS[name], here, run)


@pytest.mark.parametrize("path", KEYS)
def test_no_key_takes_such_a_value(path: str) -> None:
    for name, value in NEVER.items():
        if name == LONG and path in OF_ANY_LENGTH:
            continue
        with pytest.raises(RecipeError) as refused:
            parse(with_value(path, value).decode(), Recipe, "made.toml")
        lines = str(refused.value).split("\n")
        assert len(lines) <= 11, name
        assert all(len(line) < 1000 for line in lines), name
        assert is_plain(lines[0]), name


@pytest.mark.parametrize("path", KEYS)
def test_each_key_takes_its_own(path: str) -> None:
    """Else the rows above would be refused for another reason than their value."""
    parse(with_value(path, KEYS[path]).decode(), Recipe, "made.toml")
