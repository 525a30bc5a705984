"""Subgroups and figures at the decision the whole way: recipe, ranking, bundle, card, report, evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import command_line
import numpy as np
import pytest
import small_run
from PIL import Image

from pepr_edge.bundle.read import read_manifest

IMAGES = 120
RECIPE = small_run.FLAWLESS.replace(
    'source = "phantom"\nphantom_images = 80', 'source = "{table}"\nsubgroups = ["sex", "site"]'
).replace(
    "[export]",
    '[decision]\ntarget = "sensitivity >= 0.90"\n[score]\nperformance = "specificity_at_decision"\n'
    '[budgets]\nmin_sensitivity = 0.5\n[export]\nvariants = ["fp32"]',
)


def table(folder: Path) -> Path:
    """Images of two classes, two sexes and two sites, one of which has a single image, a test image."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,label,split,sex,site"]
    for number in range(IMAGES):
        pixels = rng.integers(0, 120, (48, 48), dtype=np.uint8)
        pixels[8:24, 8:24] += np.uint8(120 * (number % 2))
        Image.fromarray(pixels).save(folder / f"{number}.png")
        label = ("normal", "pneumonia")[number % 2]
        split = ("train", "val", "test")[number // 2 % 3]
        site = "zqxvkj" if number == 4 else "one"
        rows.append(f"{number}.png,{label},{split},{'fm'[number // 6 % 2]},{site}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder / "list.csv"


@pytest.mark.slow
def test_the_whole_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = table(tmp_path / "images")
    run = tmp_path / "run"
    text = RECIPE.replace("{table}", source.as_posix())
    ranking = small_run.carry_out(run, monkeypatch, text)
    (row,) = ranking.rows
    assert ranking.performance_metric == "specificity_at_decision"
    assert row.rank == 1
    sex, site = row.subgroups
    assert [group.n for group in sex.groups] == [20, 20]
    assert (site.groups, site.hidden_groups) == ((), 2)
    assert "sensitivity_at_decision" in sex.groups[0].metrics
    # The name of the group of one patient is nowhere.
    for path in (run / "run.json", run / "ranking.json", run / "report.html"):
        assert "zqxvkj" not in path.read_text(encoding="utf-8")

    bundle = run / (row.bundle or "")
    manifest = read_manifest(bundle)
    assert manifest.subgroups == row.subgroups
    assert row.test_performance == pytest.approx(manifest.performance["specificity_at_decision"].value)
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "## By subgroup" in card
    assert "group of patients: see below" in card

    out = tmp_path / "site.json"
    done = command_line.run(capsys, monkeypatch, "evaluate", bundle, source, "--json", "--out", out)
    assert (done.status, done.err) == (0, "80 images of training and validation left out\n")
    (result,) = json.loads(done.out)["results"]
    assert result["n"] == 40
    columns = {column["column"]: column for column in result["subgroups"]}
    assert [group["n"] for group in columns["sex"]["groups"]] == [20, 20]
    home = sex.groups[0].metrics["specificity_at_decision"]
    assert columns["sex"]["groups"][0]["metrics"]["specificity_at_decision"] == (
        None if home is None else home.model_dump(mode="json")
    )

    # The same images as at home: all figures are compared, none is worse.
    done = command_line.run(capsys, monkeypatch, "rank", run, "--field", out, "--json")
    assert (done.status, done.err) == (0, "")
    (comparison,) = json.loads(done.out)["sites"]
    compared = {figure["metric"]: figure for figure in comparison["figures"]}
    assert {"auroc", "sensitivity_at_decision", "specificity_at_decision"} <= set(compared)
    assert not any(figure["worse"] for figure in compared.values())
    assert all(
        figure["home"]["value"] == pytest.approx(figure["site"]["value"]) for figure in compared.values()
    )
    done = command_line.run(capsys, monkeypatch, "report", run, "--field", out)
    assert (done.status, done.err) == (0, "")
    assert "On labelled images of sites" in (run / "report.html").read_text(encoding="utf-8")

    # Another metric trains nothing again: epochs were compared by AUROC.
    trained = (run / "candidates").rglob("checkpoint.safetensors")
    before = {path: path.stat().st_mtime_ns for path in trained}
    small_run.carry_out(run, monkeypatch, text.replace("specificity_at_decision", "auroc"))
    assert {path: path.stat().st_mtime_ns for path in before} == before
