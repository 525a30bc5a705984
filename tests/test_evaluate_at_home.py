"""What `evaluate` finds on a device is what the workstation found, for the same file on the same images."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_run
from PIL import Image
from test_light_install import SITE

from pepr_edge.bundle.read import read_manifest
from pepr_edge.data import load, prepare
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.resolve import data_settings
from pepr_edge.recipe.toml import parse
from pepr_edge.scoring.metrics import confusion
from pepr_edge.scoring.rule import rule_of
from pepr_edge.scoring.subgroups import cell
from pepr_edge.tasks import decide_by

ALONE = ("unshare", "--user", "--map-root-user", "--net")
PX = 48


def images_as_files(finished: Path, tmp_path: Path) -> Path:
    """Write the test images of a finished run as a table with files."""
    settings = data_settings(parse(small_run.RECIPE, Recipe, "small.toml"), PX)
    info = prepare(settings, tmp_path / "prepared")
    pixels, labels = load(tmp_path / "prepared").splits["test"]
    folder = tmp_path / "site"
    folder.mkdir()
    rows = ["path,label"]
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        Image.fromarray(image.squeeze()).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{info.labels[label]}")
    (folder / "site.csv").write_text("\n".join(rows) + "\n")
    return folder / "site.csv"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare here")
def test_the_confusion_is_the_workstations_without_a_network(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no permission to make a network namespace")
    table = images_as_files(finished, tmp_path)
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'python'}:{small_run.__file__.rpartition('/tests/')[0]}")
    monkeypatch.setenv("NETWORK_LOG", str(tmp_path / "network.txt"))
    bundle = next(iter(sorted((finished / "bundles").iterdir())))
    command = [*ALONE, sys.executable, "-m", "pepr_edge", "evaluate", str(bundle), str(table), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "network.txt").exists()
    (result,) = json.loads(done.stdout)["results"]

    manifest = read_manifest(bundle)
    folder = finished / "candidates" / f"{manifest.architecture}@{PX}" / manifest.variant
    with np.load(folder / "predictions.npz") as stored:
        logits = stored["test"]
        labels = stored["test_labels"].astype(np.int64)
    decisions = decide_by(logits, rule_of(manifest.decision, manifest.labels))
    counts = confusion(decisions, labels, len(manifest.labels)).tolist()
    assert result["confusion"] == [[cell(count) for count in row] for row in counts]
    assert result["n"] == len(labels)
    assert result["metrics"]["accuracy"]["value"] == manifest.performance["accuracy"].value
    assert result["metrics"]["auroc"]["value"] == pytest.approx(manifest.performance["auroc"].value)
