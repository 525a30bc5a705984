"""--task of `data check` and `init`: tables and folders do not tell the kind of the task."""

from __future__ import annotations

import json
from pathlib import Path

import made_images
import pytest
from command_line import run

from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import read


@pytest.fixture
def findings(tmp_path: Path) -> Path:
    lines = ["path,edema,mass"]
    for number in range(24):
        made_images.save(tmp_path / f"{number}.png", seed=number)
        lines.append(f"{number}.png,{number % 2},{number % 3 // 2}")
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_columns_of_0_and_1_become_findings(findings, capsys, monkeypatch):
    said = run(capsys, monkeypatch, "data", "check", findings, "--task", "multilabel", "--json")
    document = json.loads(said.out)
    assert (said.status, document["task"]) == (0, "multilabel")
    assert (document["labels"], document["class_counts"]) == (["edema", "mass"], [12, 8])
    assert sum(document["split_images"].values()) == 24
    without = run(capsys, monkeypatch, "data", "check", findings)
    assert without.status == 1
    assert "multilabel" in without.err


@pytest.mark.parametrize(("task", "metric"), [("multilabel", "mean_auroc"), ("ordinal", "quadratic_kappa")])
def test_init_writes_kind_and_metric(findings, tmp_path, capsys, monkeypatch, task, metric):
    source = findings
    if task == "ordinal":
        text = findings.read_text().replace("path,edema,mass", "path,age,label")
        source = tmp_path / "grades.csv"
        source.write_text(text)
    out = tmp_path / "r.toml"
    said = run(capsys, monkeypatch, "init", source, "--task", task, "--no-time", "--out", out)
    assert said.status == 0, said.err
    recipe = read(out, Recipe)
    assert (recipe.task.kind, recipe.score.performance) == (task, metric)
    assert recipe.task.positive is None
