"""tools/paper.py: the paper's Table 1, figures and claims from its published results."""

from __future__ import annotations

import csv
import importlib
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_records
import numpy as np
import pooch
import pytest

from pepr_edge.compare.groups import groupings
from pepr_edge.compare.published import read as read_side

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"
FOUR = ("derma", "derma_small", "lidc", "pneumonia_small")
FIGURES = {
    "energy_parameters",
    "isoclines",
    "pepr_ctm_parameters",
    "performance_parameters",
    "training_influence",
}
Rows = list[dict[str, str]]


def tool(name: str) -> Any:
    """A module of tools/, which is no package."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module(name)


paper, paper_data, paper_claims, findings = (
    tool("paper"),
    tool("paper_data"),
    tool("paper_claims"),
    tool("paper_findings"),
)


def published(name: str) -> Path:
    """A table of the paper's figures; skips where it is absent."""
    made_records.paper(name)
    return (ROOT / os.environ.get("PEPR_TEST_DATA", "../shared") / "paper" / name).resolve()


def made(datasets: tuple[str, ...] = FOUR, models: int = 12) -> Rows:
    """Results of made models, in our columns."""
    rng = np.random.default_rng(3)
    return [
        {
            "dataset": dataset,
            "model": f"model_{index:03d}",
            "type": "CNN" if index % 3 else "Other",
            "efficient": str(int(index % 4 == 0)),
            "num_params": str(1_000_000 * (index + 1)),
            "gpu_memory_gb": repr(2.0 + rng.random()),
            "energy_kwh": repr(0.01 * (index + 1) + 0.001 * rng.random()),
            "co2eq_g": repr(1.0 + index + rng.random()),
            "last_epoch_s": repr(10.0 + index + rng.random()),
            **{
                f"test_{epoch:02d}": repr(round((0.6 + 0.2 * rng.random()) * 608) / 608)
                for epoch in range(10)
            },
        }
        for dataset in datasets
        for index in range(models)
    ]


def as_the_authors(rows: Rows) -> Rows:
    """The same results in the authors' columns and order, with those that nobody reads."""
    head = ["model", "num_param", "memT", "memR", "memA", "memM", "energy", "co2", "train_time", "infer_time"]
    head += [
        "test_00",
        "inf_time",
        "tr_acc",
        *(f"test_{epoch:02d}" for epoch in range(1, 10)),
        "type",
        "efficient",
        "dataset",
    ]
    return [
        {**dict.fromkeys(head, "0"), **{theirs: row[ours] for ours, theirs in paper_data.COLUMNS.items()}}
        for row in rows
    ]


def written(path: Path, rows: Rows) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def arrays(rows: Rows) -> Any:
    """The experiments of made results."""
    by_name = {name: [("", row) for row in rows if row["dataset"] == name] for name in paper_data.EXPERIMENTS}
    return [paper_data._experiment(name, found) for name, found in by_name.items() if found]


@pytest.fixture(scope="module")
def experiments() -> Any:
    return paper_data.read(published("published_results.csv"))


@pytest.fixture(scope="module")
def table1(experiments: Any) -> Any:
    return paper.table1(experiments, paper.read_table1(published("table1.csv")))


def test_every_row_of_table_1_is_reproduced_with_max_and_none_with_the_papers_equation(table1: Any) -> None:
    assert len(table1) == 12
    for row in table1:
        assert row.score_max == pytest.approx(row.printed.pepr_e, abs=1e-4)
        assert row.score_minmax - row.printed.pepr_e > 2e-3
        assert (row.agrees, row.agrees_minmax) == (True, False)


def test_the_slips_of_table_1_are_named(table1: Any) -> None:
    found = {(row.printed.dataset, row.printed.model): row.slips for row in table1 if row.slips}
    (epoch,), (energy,) = found["derma", "ese_vovnet19b_dw"], found["lidc", "resnet34d"]
    assert (epoch.column, epoch.printed, epoch.computed, epoch.remark) == (
        "P",
        "0.7651",
        "0.7636",
        paper.BEST_EPOCH,
    )
    assert (energy.column, energy.printed, energy.computed) == ("energy (Wh)", "21.7", "31.7")
    assert set(found) == {
        ("derma", "ese_vovnet19b_dw"),
        ("lidc", "resnet34d"),
        ("derma", "gluon_resnet34_v1b"),
    }


def test_no_claim_is_reproduced_whose_experiments_are_absent(experiments: Any, table1: Any) -> None:
    claims = paper.claims(experiments, table1)
    reproduced = [claim for claim in claims if claim.verdict == "reproduced"]
    assert {claim.claim for claim in reproduced if "five best" not in claim.claim} == {
        "131 architectures of 1 to 130 million parameters were compared.",
        "PePR-E of Table 1 follows from the published results.",
    }
    absent = set(paper_data.EXPERIMENTS) - set(FOUR)
    for claim in claims:
        named = {name for name in absent if re.search(rf"\b{name}\b", claim.claim)}
        assert not named or claim.verdict == f"needs {', '.join(named)}", claim
    assert {claim.where: claim.verdict for claim in claims if claim.where in ("Fig. 5a", "Fig. 5b")} == {
        "Fig. 5a": "needs derma_pt",
        "Fig. 5b": "needs derma_pt, pneumonia, lidc_small",
    }


def test_the_five_best_are_those_of_the_authors_notebook(experiments: Any) -> None:
    for experiment in experiments:
        assert paper_claims._notebook(experiments, experiment.name).verdict == "reproduced"


def test_what_the_readers_are_warned_of(experiments: Any) -> None:
    same = paper_data.repeated(experiments)
    assert {name: int(where.sum()) for name, where in same["derma_small"].items()} == {
        "derma": 68,
        "pneumonia_small": 35,
    }
    assert not same["lidc"]
    assert "outranks 97 of the 131" in findings.trivial_model(experiments)
    assert (
        "without convmixer_768_32: mobilenetv2_050, semnasnet_075 in place of resnet34d, resnet26d"
        in findings.outlying(experiments)
    )
    assert [findings.decided_images(experiment) for experiment in experiments] == [1984, 1984, 3008, 608]


def test_no_energy_that_is_doubted_is_near_the_bound(experiments: Any) -> None:
    assert [int(e.implausible.sum()) for e in experiments] == [0, 78, 0, 35]
    for experiment in experiments:
        assert not np.any((experiment.power_w > 740) & (experiment.power_w < 2700))
    doubts = findings.energy_doubts(experiments)
    assert "derma_small and pneumonia_small" in doubts
    assert "2737 W" in doubts


def test_that_models_say_one_class_is_an_inference(experiments: Any) -> None:
    said = [findings._one_class(experiment) for experiment in experiments if experiment.name != "lidc"]
    assert said[0] == said[2] == ""
    assert "19 models end at the same 1328 of 1984 images" in said[1]
    assert "1320 to 1341" in said[1]
    assert "inference" in said[1]


@pytest.mark.parametrize("models", [11, 12])
def test_small_models_are_those_of_compare(models: int, tmp_path: Path) -> None:
    rows = made(("derma",), models)
    side = read_side("", written(tmp_path / "made.csv", rows), "derma")
    large = groupings()[0].members(side.models)
    by_name = dict(zip((model.name for model in side.models), large, strict=True))
    (experiment,) = arrays(rows)
    assert [by_name[name] for name in experiment.names] == list(~experiment.small)
    assert experiment.small.sum() == 6


@pytest.mark.parametrize(
    ("tuned", "seconds", "verdict", "words"),
    [
        (
            lambda index: 0.9,
            "1.0",
            "reproduced",
            "the best performance is kept, and most models keep theirs.",
        ),
        (
            lambda index: 0.9 if index == 0 else 0.1,
            "1.0",
            "partly",
            "the best performance is kept, but most models lose theirs.",
        ),
        (lambda index: 0.7, "1.0", "partly", "the best performance is lost, but most models keep theirs."),
        (
            lambda index: 0.1,
            "1.0",
            "not reproduced",
            "the best performance is lost, and most models lose theirs.",
        ),
        (
            lambda index: 0.9,
            "99.0",
            "not reproduced",
            "the best performance is kept, and most models keep theirs.",
        ),
    ],
)
def test_whether_fine_tuning_saves_data_is_judged(
    tuned: Callable[[int], float], seconds: str, verdict: str, words: str
) -> None:
    rows = made(("derma", "derma_small"))
    for index, row in enumerate(rows):
        small = row["dataset"] == "derma_small"
        row["test_09"] = repr(tuned(index % 12)) if small else "0.8" if index == 0 else "0.6"
        row["last_epoch_s"] = seconds if small else "50.0"
        row["energy_kwh"] = repr(0.0001 * (index + 1))
    claim = paper_claims._less_data(arrays(rows))
    assert (claim.verdict, claim.remark) == (verdict, f"With a tenth of the images, {words}")


def test_where_no_energy_is_in_doubt_none_is_doubted() -> None:
    rows = [{**row, "last_epoch_s": "1000.0"} for row in made()]
    sound, experiments = arrays(rows), arrays(made())
    assert findings.energy_doubts(sound) == ""
    assert "see below" not in paper_claims._energy(sound).remark
    assert "these cannot be right" in findings.energy_doubts(experiments)
    assert "energies of derma" in paper_claims._energy(experiments).remark
    for row, other in zip(rows[:12], rows[12:], strict=False):
        other["energy_kwh"] = row["energy_kwh"]
    assert "Nothing shows which" in findings.energy_doubts(arrays(rows))
    assert "CO2eq" not in findings.energy_doubts(arrays(rows))


def test_the_published_page_is_what_the_tool_writes(experiments: Any, table1: Any) -> None:
    assert (ROOT / "docs" / "paper.md").read_text(encoding="utf-8") == paper.page(experiments, table1)


def test_the_published_page_shows_every_figure_and_no_other() -> None:
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(paper/(\w+)\.svg\)", page)) == FIGURES
    assert {path.name for path in (ROOT / "docs" / "paper").iterdir()} == {f"{name}.svg" for name in FIGURES}
    for name in FIGURES:
        assert (ROOT / "docs" / "paper" / f"{name}.svg").stat().st_size < 150_000


@pytest.mark.slow
def test_the_same_bytes_every_time_and_from_either_format(tmp_path: Path) -> None:
    ours, theirs = (
        written(tmp_path / "ours.csv", made()),
        written(tmp_path / "theirs.csv", as_the_authors(made())),
    )
    for number, results in enumerate((ours, ours, theirs)):
        assert paper.main(["--results", str(results), "--out", str(tmp_path / str(number))]) == 0
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / str(number)).rglob("*.*")}
        for number in range(3)
    ]
    assert set(files[0]) == {"paper.md", *(f"{name}.svg" for name in FIGURES)}
    assert files[0] == files[1] == files[2]
    for name, content in files[0].items():
        assert str(tmp_path).encode() not in content
        if name.endswith(".svg"):
            assert ET.fromstring(content).tag.endswith("svg")


def test_one_experiment_and_few_models_make_a_page(tmp_path: Path) -> None:
    results = written(tmp_path / "one.csv", made(("lidc_small",), models=6))
    assert paper.main(["--results", str(results), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "paper.md").read_text(encoding="utf-8")
    assert "1 of the paper's 8 experiments" in page
    assert "## Table 1" not in page


def test_with_all_experiments_no_claim_needs_one() -> None:
    experiments = arrays(made(tuple(paper_data.EXPERIMENTS)))
    verdicts = {claim.verdict for claim in paper.claims(experiments, [])}
    assert verdicts <= {"reproduced", "not reproduced", "partly"}


def changed(**values: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{**rows[0], **values}, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: [{name: row[name] for name in row if name != "energy_kwh"} for row in rows],
            "no column energy_kwh",
        ),
        (
            lambda rows: [{"a": "1", "b": "2"}],
            r"neither num_params \(our format\) nor num_param \(the authors'\)",
        ),
        (changed(energy_kwh="much"), "row 2: energy_kwh = 'much', expected a finite number >= 0"),
        (changed(energy_kwh="nan"), "energy_kwh = 'nan'"),
        (changed(co2eq_g="-1"), "co2eq_g = '-1'"),
        (changed(test_09="1.2"), r"test_09 = '1.2', expected a finite number in \[0, 1\]"),
        (changed(dataset="other"), "dataset = 'other', expected one of derma_pt, derma"),
        (changed(model="model_001"), "derma has model_001 twice"),
        (lambda rows: rows[1:], "model_000 is not in both derma and derma_small"),
    ],
)
def test_results_that_cannot_be_used_are_one_line(
    change: Callable[[Rows], Rows], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = written(tmp_path / "results.csv", change(made()))
    assert paper.main(["--results", str(results), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no rows"), (b"dataset,model\n", "no rows"), (b"\xff\xfe\x00", "not a CSV file in UTF-8")],
)
def test_files_that_are_no_table_are_one_line(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.csv"
    results.write_bytes(content)
    assert paper.main(["--results", str(results)]) == 1
    assert (
        paper.main(["--results", str(written(tmp_path / "good.csv", made())), "--table1", str(results)]) == 1
    )
    assert paper.main(["--results", str(tmp_path / "absent.csv")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [message in line for line in lines] == [True, True, False]
    assert "No such file" in lines[2]


def test_a_place_where_nothing_can_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = written(tmp_path / "results.csv", made(("derma",)))
    assert paper.main(["--results", str(results), "--out", str(results)]) == 1
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert said.count("\n") == 1


def test_without_a_network_the_download_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    assert paper.main([]) == 1
    said = capsys.readouterr().err
    assert "cannot be downloaded (ConnectionError)" in said
    assert "a0d152d83a1da6f27fa2a2231f742674ef2ca10f/data/all_results.csv" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("models", "complete"), [(131, True), (130, False)])
def test_what_was_downloaded_must_be_the_whole_table(
    models: int, complete: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = written(tmp_path / "all_results.csv", as_the_authors(made(tuple(paper_data.EXPERIMENTS), models)))
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: str(table))
    if complete:
        assert [experiment.name for experiment in paper_data.published()] == list(paper_data.EXPERIMENTS)
    else:
        with pytest.raises(paper.ScoreError, match="expected 131 in each of 8"):
            paper_data.published()
