"""The files of a comparison."""

from __future__ import annotations

import csv
from pathlib import Path

import compare_runs
import pytest
from compare_runs import Made, spread
from compare_sides import read

from pepr_edge import compare
from pepr_edge.compare.pictures import NAMES
from pepr_edge.compare.record import Comparison

pytest.importorskip("scipy")


def test_the_folder_holds_rows_scores_and_figures(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.6), Made(fraction=0.25))
    b = compare_runs.run(tmp_path / "b", spread(0.7, step=0.02), cost=2.0)
    inputs, pairs = read(a, b)
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("precious")
    done = compare.write(compare.compare(inputs, pairs), inputs, pairs, out)
    # Figures of an earlier comparison are found by these names.
    assert {f"compare_{name}" for name in PLOTS} == set(NAMES)
    names = {f"compare_{name}{suffix}" for name in PLOTS for suffix in (".svg", ".png")}
    assert {path.name for path in out.iterdir()} == names | {
        "comparison.json",
        "comparison.csv",
        "thesis.txt",
        ".pepr_edge",
    }
    assert {Path(path).name for path in done.plots} == names
    assert Comparison.model_validate_json((out / "comparison.json").read_text()) == done
    with open(out / "comparison.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == 16
    assert (written[0]["side"], written[0]["candidate"], written[0]["test_accuracy"]) == (
        "A",
        "mobilenetv2_050@64",
        "0.6",
    )
    assert float(written[8]["train_energy_j"]) == 200.0
    assert written[8]["train_energy_method"] == "measured"
    assert float(written[3]["pepr_E"]) == pytest.approx(pairs.joint["E"][0, 3])
    assert float(written[11]["pepr_edge_by_itself"]) == pytest.approx(pairs.separate["edge"][1, 3])


def test_figures_of_an_earlier_comparison_do_not_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for count, method in ((8, "measured"), (4, "declared")):
        a = compare_runs.run(tmp_path / f"a{count}", spread(0.6, count=count))
        b = compare_runs.run(tmp_path / f"b{count}", spread(0.7, count=count), Made(method=method))
        inputs, pairs = read(a, b)
        done = compare.write(compare.compare(inputs, pairs), inputs, pairs, out)
        if count == 8:
            (out / "compare_pepr_T.svg").write_text("compare writes no such file")
            (out / "compare_other.png").mkdir()
    # Energy is measured in A and declared in B, so there is no PePR-E.
    assert len(done.plots) == 4
    assert {path.name for path in out.iterdir()} == {Path(plot).name for plot in done.plots} | {
        "comparison.json",
        "comparison.csv",
        ".pepr_edge",
        "compare_pepr_T.svg",
        "compare_other.png",
    }


PLOTS = ("performance", "pepr_E", "pepr_edge", "parameters_performance", "parameters_pepr_E")
