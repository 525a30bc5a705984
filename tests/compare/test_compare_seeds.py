"""Runs with one architecture in common: its seeds are compared."""

from __future__ import annotations

import csv
from pathlib import Path

import compare_runs
import pytest
from compare_runs import Made, spread
from compare_sides import read
from scipy import stats

from pepr_edge import compare
from pepr_edge.errors import ScoreError

A = (0.70, 0.74, 0.71)
B = (0.80, 0.79, 0.83)


def runs(folder: Path, a: Made, b: Made, *, more_in_b: bool = False) -> tuple[Path, Path]:
    """Write two runs of one architecture; `more_in_b`: the second run has another one, too."""
    in_b = {**spread(B[0], count=1), **({"resnet18d": 0.9} if more_in_b else {})}
    return (
        compare_runs.run(folder / "a", spread(A[0], count=1), a),
        compare_runs.run(folder / "b", in_b, b, cost=2.0),
    )


@pytest.mark.parametrize("more_in_b", [False, True])
def test_the_seeds_of_the_only_common_architecture_are_the_pairs(tmp_path: Path, more_in_b: bool) -> None:
    a, b = runs(tmp_path, Made(repeats=A[1:]), Made(weights="pretrained", repeats=B[1:]), more_in_b=more_in_b)
    inputs, pairs = read(a, b)
    assert [model.name for model in pairs.a] == ["seed 0", "seed 1", "seed 2"]
    assert pairs.performance.tolist() == [list(A), list(B)]
    # The cost of each training is its own; the file that was measured is that of one seed.
    assert [model.resources["train_energy"] for model in pairs.b] == [200.0, 220.0, 240.0]
    assert pairs.b[0].resources["latency"] is None
    assert pairs.joint == pairs.separate == {}
    assert [entry.candidate for entry in pairs.left_out] == ["resnet18d@64"] * more_in_b
    done = compare.write(compare.compare(inputs, pairs), inputs, pairs, tmp_path / "out")
    (test,) = done.tests
    assert test.paired_p == pytest.approx(stats.ttest_rel(B, A).pvalue)
    assert (test.difference, test.n, test.verdict) == (pytest.approx(0.09), (3, 3), "up")
    assert done.question == "Does pretraining pay off?"
    assert "over 3 seeds of mobilenetv2_050@64" in done.headline
    assert any("2.00 times" in note for note in done.notes)
    assert "PePR-" not in compare.text(done)
    assert {Path(path).stem for path in done.plots} == {"compare_performance"}
    with open(tmp_path / "out" / "comparison.csv", newline="") as file:
        assert [row["test_accuracy"] for row in csv.DictReader(file)] == [str(value) for value in A + B]


def test_seeds_that_one_run_lacks_are_left_out(tmp_path: Path) -> None:
    inputs, pairs = read(*runs(tmp_path, Made(repeats=A[1:]), Made(weights="pretrained", repeats=B[1:2])))
    assert inputs.question.text == "Does pretraining pay off?"  # the number of seeds is no other way
    assert [model.name for model in pairs.a] == ["seed 0", "seed 1"]
    assert [(entry.candidate, entry.reason) for entry in pairs.left_out] == [("seed 2", "not in B")]


@pytest.mark.parametrize(
    ("a", "b", "variant"),
    [
        (Made(repeats=A[1:]), Made(), None),  # one seed in common
        (Made(repeats=A[1:]), Made(seed=3, repeats=B[1:]), None),  # none
        (Made(repeats=A[1:]), Made(repeats=B[1:]), "fp32"),  # the file of one seed alone is there
    ],
)
def test_a_single_pair_is_refused(tmp_path: Path, a: Made, b: Made, variant: str | None) -> None:
    with pytest.raises(ScoreError, match=r"1 finished candidates in common.*train\.repeats"):
        read(*runs(tmp_path, a, b), variant=variant)


def test_seeds_count_as_one_model_beside_other_architectures(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.6, count=2), Made(repeats=(0.5,)))
    b = compare_runs.run(tmp_path / "b", spread(0.7, count=2), Made(fraction=0.5, repeats=(0.5,)))
    _, pairs = read(a, b)
    assert [model.name for model in pairs.a] == ["mobilenetv2_050@64", "dla46_c@64"]


def test_the_warnings_are_about_the_seeds(tmp_path: Path) -> None:
    """What was said of the other candidates, and of files, does not concern them."""
    a = compare_runs.run(tmp_path / "a", spread(0.3, count=1), Made(repeats=(0.9, 0.9)))
    others = {**spread(0.9, count=1), "resnet18d": 0.3}
    b = compare_runs.run(tmp_path / "b", others, Made(repeats=(0.9, 0.9)))
    inputs, _ = read(a, b)
    assert inputs.seeds_of == "mobilenetv2_050@64"
    (warning,) = inputs.a.warnings
    assert warning.startswith("1 of 3 models are no better than")
    assert inputs.b.warnings == ()
