"""Sets of a published table as sides."""

from __future__ import annotations

import os
from pathlib import Path

import made_records
import pytest
from compare_sides import finding

from pepr_edge import compare
from pepr_edge.errors import PeprError, RunError, ScoreError

stats = pytest.importorskip("scipy.stats")
HEADER = (
    "dataset,model,type,efficient,num_params,gpu_memory_gb,energy_kwh,co2eq_g,last_epoch_s,test_00,test_01"
)


def table(folder: Path, *rows: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    return path


def rows(name: str, *performances: float) -> list[str]:
    return [
        f"{name},m{i},CNN,{i % 2},{i + 1}000000,{i + 1},{0.01 * (i + 1)},{i + 1},{i + 2},0.1,{p}"
        for i, p in enumerate(performances)
    ]


def test_a_set_of_a_table_is_a_side(tmp_path: Path) -> None:
    path = table(tmp_path, *rows("skin", 0.5, 0.6, 0.7), *rows("skin_small", 0.4, 0.5, 0.65))
    inputs = compare.read(f"{path}:skin_small", f"{path}:skin")
    assert inputs.question.text == "Do A and B differ?"
    assert inputs.question.contrast == "with skin instead of skin_small"
    first = inputs.a.models[0]
    assert (first.name, first.performance, first.num_params, first.family, first.efficient) == (
        "m0",
        0.4,
        1_000_000,
        "CNN",
        False,
    )
    assert first.resources == pytest.approx(
        {"train_energy": 36000.0, "train_co2eq": 1.0, "train_time": 2.0, "train_memory": 1e9}
    )
    assert any("skin_small and skin" in warning for warning in inputs.warnings)


def test_equal_energies_in_both_sets_give_a_warning(tmp_path: Path) -> None:
    values = [0.5, 0.6, 0.7, 0.8, 0.9]
    path = table(tmp_path, *rows("x", *values), *rows("y", *values))
    inputs = compare.read(f"{path}:x", f"{path}:y")
    assert any(
        warning.startswith("5 of 5 models have the same training energy") for warning in inputs.warnings
    )
    assert inputs.question.text == "Do A and B differ?"


def test_two_sets_are_no_choice_that_could_pay(tmp_path: Path) -> None:
    path = table(tmp_path, *rows("x", 0.5, 0.6, 0.7, 0.8, 0.9), *rows("y", 0.61, 0.7, 0.82, 0.9, 0.99))
    inputs = compare.read(f"{path}:x", f"{path}:y")
    found = compare.compare(inputs, compare.pair(inputs))
    assert found.headline.startswith(
        "B is better: with y instead of x, test accuracy is 0.104 higher on average"
    )
    assert "pays" not in found.headline
    other = compare.read(f"{path}:y", f"{path}:x")
    assert compare.compare(other, compare.pair(other)).headline.startswith(
        "B is worse: with x instead of y, test accuracy is 0.104 lower"
    )


def test_a_table_of_one_set_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = table(tmp_path, *rows("skin", 0.5, 0.6)), table(tmp_path / "other", *rows("lung", 0.5, 0.6))
    assert len(compare.pair(compare.read(str(one), str(other))).a) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{table}:lung", "no set 'lung' in that table, expected one of skin, bone"),
        ("{table}", "holds several sets, skin, bone"),
        ("{table}:skin", "are the same. Give two runs, or two sets"),
        ("{folder}/none.csv:skin", "no such run directory or table"),
        ("{folder}", "a run and a table"),
    ],
)
def test_an_argument_that_cannot_be_read_is_an_error_on_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = table(tmp_path, *rows("skin", 0.5, 0.6), *rows("bone", 0.5, 0.6))
    with pytest.raises(PeprError, match=message) as fault:
        compare.read(f"{path}:skin", text.format(table=path, folder=tmp_path))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("skin,m9,CNN,0,1,1,many,1,1,0.1,0.5", "energy_kwh = 'many' of m9, expected a number from 0"),
        ("skin,m9,CNN,0,1,1,-1,1,1,0.1,0.5", "energy_kwh = '-1' of m9"),
        ("skin,m9,CNN,0,1,1,1,1,1,0.1,1.5", "test_01 = '1.5' of m9, expected a number from 0 to 1"),
        ("skin,m9,CNN,0,1,1,1,1,1,0.1,", "m9 has no test_01"),
        ("skin,m0,CNN,0,1,1,1,1,1,0.1,0.5", "model 'm0' has several rows"),
        ("skin,m9,CNN", "a row with more or fewer cells"),
    ],
)
def test_a_faulty_table_is_refused(tmp_path: Path, row: str, message: str) -> None:
    path = table(tmp_path, *rows("skin", 0.5, 0.6), row, *rows("bone", 0.5, 0.6))
    with pytest.raises(ScoreError, match=message):
        compare.read(f"{path}:bone", f"{path}:skin")


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("dataset,model\na,b\n")
    (tmp_path / "y.csv").write_text(HEADER + "\n")
    with pytest.raises(ScoreError, match="no column type, efficient"):
        compare.read(f"{tmp_path}/x.csv:a", f"{tmp_path}/x.csv:b")
    with pytest.raises(ScoreError, match="no rows"):
        compare.read(f"{tmp_path}/y.csv", f"{tmp_path}/x.csv")
    with pytest.raises(RunError, match="not a run directory"):
        compare.read(str(tmp_path), str(tmp_path.parent))


def test_the_papers_figures_give_scipys_t_and_p() -> None:
    published = made_records.paper("published_results.csv")
    values = {
        name: {row["model"]: float(row["test_09"]) for row in published if row["dataset"] == name}
        for name in ("derma_small", "derma")
    }
    folder = Path(os.environ.get("PEPR_TEST_DATA", "../shared"))
    path = (Path(__file__).resolve().parents[2] / folder / "paper" / "published_results.csv").resolve()
    inputs = compare.read(f"{path}:derma_small", f"{path}:derma")
    pairs = compare.pair(inputs)
    found = finding(compare.compare(inputs, pairs), question=inputs.question.text)
    expected = stats.ttest_ind(
        [values["derma"][one.name] for one in pairs.a], [values["derma_small"][one.name] for one in pairs.a]
    )
    assert found.n == (131, 131)
    assert (found.t, found.p) == (expected.statistic, expected.pvalue)
    assert any("72 of 131 models have the same training energy" in warning for warning in inputs.warnings)
    headline = compare.compare(inputs, pairs).headline
    assert "Do not rely on PePR-E" in headline
    assert "PePR-E is" not in headline
