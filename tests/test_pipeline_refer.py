"""A run whose bundles refer images, the whole way."""

from __future__ import annotations

import json
from pathlib import Path

import command_line
import numpy as np
import pytest
import small_run
import tiny_bundle
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.data import phantom
from pepr_edge.field.verify import check
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.run_dir.keys import autotune_key, export_key, run_key, train_key
from pepr_edge.run_dir.reader import load

RECIPE = small_run.FLAWLESS + "[decision]\nrefer_share = 0.3\n"


@pytest.mark.slow
def test_a_run_that_refers_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    small_run.carry_out(folder, monkeypatch, RECIPE, figures=True)
    bundles = sorted((folder / "bundles").iterdir())
    assert {bundle.name.split("-")[-1] for bundle in bundles} == {"fp32", "int8_static"}
    noise = tiny_bundle.image(tmp_path / "noise.png", size=(48, 48))
    Image.fromarray(phantom.images(1, 9, 48)[0][0]).save(tmp_path / "own.png")
    Image.fromarray(np.full((48, 48), 99, np.uint8)).save(tmp_path / "blank.png")
    for bundle in bundles:
        made = read_manifest(bundle)
        assert made.novelty is not None
        assert made.decision is not None
        assert made.decision.refer is not None
        assert made.decision.refer.asked == "refer_share = 0.3"
        assert made.decision.refer.images.colour == "grey"
        assert made.performance["val_referred_share"].value <= 0.3
        assert check(bundle).reasons == []
        assert "## Referred images" in (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
        images = [noise, tmp_path / "blank.png"]
        done = command_line.run(capsys, monkeypatch, "predict", "--json", bundle, *images)
        reasons = [row["refer"] for row in json.loads(done.out)["predictions"]]
        assert "unlike" in reasons[0]
        assert "blank" in reasons[1]
    assert (folder / "report" / "coverage.svg").is_file()


def test_only_files_that_get_another_output_are_made_again(flawless: Path) -> None:
    results = load(flawless)
    state = results.entries[0]
    assert state.trained is not None
    plain = parse(small_run.FLAWLESS, Recipe, "small.toml")
    refers = parse(RECIPE, Recipe, "small.toml")
    other = parse(RECIPE.replace("refer_share = 0.3", "max_error = 0.1"), Recipe, "small.toml")
    variant = load_variant("fp32")

    def keys(recipe: Recipe) -> tuple[str, str, str]:
        assert state.trained is not None
        trained = state.trained
        of_training = train_key(state.candidate, recipe, results.info.data)
        return of_training, export_key(trained, variant, recipe), autotune_key(trained, recipe)

    assert keys(plain)[0] == keys(refers)[0] == keys(other)[0]
    assert keys(refers) == keys(other)
    assert not set(keys(plain)[1:]) & set(keys(refers)[1:])
    resolved = results.recipe
    assert run_key(resolved, ["a"], {}) != run_key(
        resolved.model_copy(update={"decision": refers.decision}), ["a"], {}
    )
