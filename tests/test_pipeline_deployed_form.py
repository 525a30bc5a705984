"""Architectures with training-time branches through a whole run: what is handed over has none."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import onnx
import pytest
import small_run

from pepr_edge.bundle.read import read_manifest
from pepr_edge.export.deployed_form import count_parameters
from pepr_edge.field.verify import check
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import Artifact, Candidate, Manifest, Ranking
from pepr_edge.run_dir.store import read_record
from pepr_edge.train.models import create

# Convolutions in training and in the deployed file.
CONVOLUTIONS = {"mobileone_s0": (191, 43), "repvgg_a2": (44, 22), "fastvit_t8": (68, 52)}
PX = 32
NAMES = ", ".join(f'"{name}"' for name in CONVOLUTIONS)
RECIPE = (
    small_run.RECIPE.replace(f'"{small_run.GOOD}", "{small_run.BAD}"', NAMES)
    .replace("image_size_px = 48", f"image_size_px = {PX}")
    .replace("epochs = 2", "epochs = 1")
    .replace("[export]", '[export]\nvariants = ["fp32", "int8_static"]')
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "branches"
    with pytest.MonkeyPatch.context() as patch:
        small_run.carry_out(folder, patch, RECIPE)
    return folder


def convolutions(path: Path) -> int:
    operators = Counter(node.op_type for node in onnx.load(str(path)).graph.node)
    assert operators["BatchNormalization"] == 0
    return operators["Conv"]


def bundles(run: Path) -> dict[tuple[str, str], Path]:
    """Return the bundles by architecture and variant."""
    found = {}
    for folder in (run / "bundles").iterdir():
        manifest = read_manifest(folder)
        found[manifest.architecture, manifest.variant] = folder
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_bundle_holds_the_deployed_form(run: Path, name: str) -> None:
    _, deployed_convolutions = CONVOLUTIONS[name]
    found = bundles(run)
    float32 = found[name, "fp32"]
    int8 = found[name, "int8_static"]
    assert convolutions(float32 / "model.onnx") == deployed_convolutions
    assert convolutions(int8 / "model.onnx") == deployed_convolutions
    assert convolutions(int8 / "fallback.onnx") == deployed_convolutions
    assert check(float32).reasons == []
    assert check(int8).reasons == []
    artifact = read_record(run / "candidates" / f"{name}@{PX}" / "fp32" / "export.json", Artifact)
    assert artifact.parity.passed
    assert artifact.form_note == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_both_numbers_of_parameters_are_handed_over(run: Path, name: str) -> None:
    module = create(Candidate(architecture=name, image_size_px=PX, in_channels=1, num_classes=2))
    trained_params = count_parameters(module)
    for variant in ("fp32", "int8_static"):
        folder = bundles(run)[name, variant]
        manifest = read_record(folder / "manifest.json", Manifest)
        assert manifest.form is not None
        assert manifest.form.trained_params == trained_params
        assert manifest.form.deployed_params == manifest.num_params < trained_params
        card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert f"{trained_params:,} in training" in card
    graph = onnx.load(str(bundles(run)[name, "fp32"] / "model.onnx")).graph
    stored = sum(onnx.numpy_helper.to_array(tensor).size for tensor in graph.initializer)
    assert stored == pytest.approx(manifest.num_params, rel=0.02)
    rows = [row for row in read_record(run / "ranking.json", Ranking).rows if row.architecture == name]
    assert {(row.num_params, row.trained_params) for row in rows} == {(manifest.num_params, trained_params)}
    lines = csv.DictReader((run / "ranking.csv").read_text(encoding="utf-8").splitlines())
    counts = {(line["num_params"], line["trained_params"]) for line in lines if line["architecture"] == name}
    assert counts == {(str(manifest.num_params), str(trained_params))}
    assert f"{trained_params:,} in training" in (run / "report.html").read_text(encoding="utf-8")


def test_the_recipe_of_this_run_is_valid() -> None:
    assert parse(RECIPE, Recipe, "branches.toml").candidates.architectures == tuple(CONVOLUTIONS)
