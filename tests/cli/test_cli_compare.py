"""`pepr-edge compare`: two runs or two sets of a table, as text, JSON and files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import command_line
import compare_runs
import pytest
import small_run
from compare_runs import Made, spread

pytest.importorskip("scipy")

KEYS = {"schema_version", "a", "b", "question", "metric", "pairs", "left_out", "tests", "warnings", "plots"}
TEST_KEYS = {
    "question",
    "measure",
    "groups",
    "n",
    "mean",
    "difference",
    "ci",
    "t",
    "p",
    "p_holm",
    "paired_t",
    "paired_p",
    "wilcoxon_p",
}
TEST_KEYS |= {"cohen_d", "d_z", "sentence"}


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Eight architectures on 25 % and on 100 % of the data; each is better with more data."""
    gains = (0.08, 0.07, 0.09, 0.10, 0.06, 0.08, 0.07, 0.09)
    few = spread(0.6)
    a = compare_runs.run(tmp_path / "few", few, Made(fraction=0.25))
    b = compare_runs.run(
        tmp_path / "all",
        {name: value + gain for (name, value), gain in zip(few.items(), gains, strict=True)},
        Made(),
        cost=4.0,
    )
    return a, b


def test_the_text_has_at_most_100_columns(
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = command_line.run(capsys, monkeypatch, "compare", *runs, "--out", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Does more data pay")
    assert "100 % instead of 25 % of the training images" in done.out
    assert "PePR with each side by itself, as in the paper:" in done.out
    assert "min-max over the 16 models of both sides as one set" in done.out
    assert "In A (25 % of data), of the 8 architectures that both have, " in done.out
    own = [line for line in done.out.splitlines() if str(tmp_path) not in line]
    assert max(map(len, own)) <= 100


def test_json_equals_the_written_document(
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command_line.run(capsys, monkeypatch, "compare", *runs, "--json")
    assert (done.status, done.err) == (0, "")
    document = json.loads(done.out)
    assert set(document) >= KEYS
    assert json.loads((tmp_path / "comparison" / "comparison.json").read_text()) == document
    assert (document["schema_version"], document["pairs"], document["metric"]) == (1, 8, "accuracy")
    assert all(set(test) >= TEST_KEYS for test in document["tests"])
    assert all(Path(plot).is_file() for plot in document["plots"])
    assert len(document["plots"]) == 10
    first = document["tests"][0]
    assert (first["measure"], first["groups"], first["n"]) == ("performance", ["A", "B"], [8, 8])
    assert first["difference"] == pytest.approx(0.08)


def test_other_files_in_the_folder_are_kept(
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    (out / "comparison.csv").write_text("precious")
    refused = command_line.run(capsys, monkeypatch, "compare", *runs, "--out", out, "-q")
    assert (refused.status, "comparison.csv: was not written by pepr_edge" in refused.err) == (1, True)
    assert sorted(path.name for path in out.iterdir()) == ["comparison.csv", "thesis.txt"]
    assert (out / "comparison.csv").read_text() == "precious"
    (out / "comparison.csv").unlink()
    assert command_line.run(capsys, monkeypatch, "compare", *runs, "--out", out, "-q").status == 0
    assert (out / "thesis.txt").read_text() == "precious"
    assert (out / "comparison.csv").read_text().startswith("side,candidate")


def test_faults_are_reported_in_one_line(
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    one = compare_runs.run(tmp_path / "one", spread(0.6, count=1), Made(todo=("resnet18d",)))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    cases = [
        ((runs[0], runs[0]), "are the same"),
        ((runs[0], f"{runs[0]}/"), "are the same"),
        ((runs[0], tmp_path / "nowhere"), "no such run directory or table"),
        ((runs[0], tmp_path / "empty"), "not a run directory (no run.json)"),
        ((runs[0], one), "have 1 finished candidates in common, expected at least 2"),
        ((*runs, "--performance", "f2"), "--performance 'f2': expected one of accuracy"),
        ((*runs, "--variant", "int8_static"), "variant 'int8_static' is in neither run"),
        ((runs[0], tmp_path / "file"), "a run and a table"),
    ]
    for words, message in cases:
        done = command_line.run(capsys, monkeypatch, "compare", *words, "--out", out)
        assert (done.status, done.out) == (1, ""), words
        assert message in done.err
        assert done.err.count("\n") == 1
    assert not out.exists()
    done = command_line.run(capsys, monkeypatch, "compare", *runs, "--out", tmp_path / "file" / "out")
    assert (done.status, done.err.count("\n")) == (1, 1)


@pytest.mark.slow
def test_half_of_the_data_is_compared_with_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_run.FLAWLESS.replace(
        f'"{small_run.GOOD}"', '"test_efficientnet", "test_resnet", "test_byobnet"'
    )
    recipe = recipe.replace("keep_performance = 0.0", 'variants = ["fp32"]')
    for name, fraction in (("half", 0.5), ("all", 1.0)):
        text = recipe.replace("phantom_images = 80", f"phantom_images = 80\nfraction = {fraction}")
        small_run.carry_out(tmp_path / name, monkeypatch, text)
    monkeypatch.chdir(tmp_path)
    # Their records do not contain the metric.
    words = ("compare", "half", "all", "--performance", "sensitivity_at_specificity_0.8")
    done = command_line.run(capsys, monkeypatch, *words)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Does more data pay off?\n\n")
    headline = " ".join(done.out.split("\n\n")[1].split())
    assert "with 100 % instead of 50 % of the training images, " in headline
    assert "test sensitivity at 80 % specificity" in headline
    assert "They differ in data.fraction: 0.5 in A, 1.0 in B." in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    document = json.loads(command_line.run(capsys, monkeypatch, *words, "--json").out)
    assert json.loads(Path("comparison/comparison.json").read_text()) == document
    assert (document["pairs"], document["left_out"]) == (3, [])
    assert {test["measure"] for test in document["tests"]} >= {
        "performance",
        "PePR-E",
        "PePR-D",
        "PePR-L",
        "PePR-edge",
    }
    assert {(test["question"], test["n"][0]) for test in document["tests"] if test["side"] is None} >= {
        ("Does more data pay off?", 3)
    }
    plots = [Path(plot) for plot in document["plots"]]
    assert len(plots) == 10
    assert all(ET.parse(plot).getroot().get("aria-label") for plot in plots if plot.suffix == ".svg")
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots if plot.suffix == ".png")


@pytest.mark.slow
def test_incomplete_runs_are_refused(
    finished: Path,
    flawless: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = command_line.run(capsys, monkeypatch, "compare", finished, flawless, "--out", tmp_path / "out")
    assert done.status == 1
    assert "have 1 finished candidates in common" in done.err
    assert "not in B" in done.err or "A: train" in done.err
