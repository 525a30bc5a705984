"""Runs whose candidates begin with pretrained weights, some of them, or none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import command_line
import numpy as np
import pytest
import small_run
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from small_run import FLAWLESS, GOOD, Listener

from pepr_edge import pipeline
from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import ModelError
from pepr_edge.images.preprocess import load_tensor, to_tensor
from pepr_edge.measure.runtimes import onnxruntime
from pepr_edge.pipeline import Options
from pepr_edge.records import Ranking, RunInfo, TrainResult
from pepr_edge.report.terminal import conclusion
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record
from pepr_edge.train.weights import hub
from pepr_edge.zoo.pretrained import Pretrained

OTHER = "dla46_c"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONTENT_PX = (60, 44)


def text(weights: str, names: tuple[str, ...] = (GOOD,), more: str = "") -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    changed = FLAWLESS.replace(f'architectures = ["{GOOD}"]', f"architectures = [{listed}]\n{more}")
    return changed.replace("image_size_px = 48", f'image_size_px = 64\nweights = "{weights}"')


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[RunInfo, list[str]]]:
    """Run a recipe into tmp_path / "run", without its candidates; return run.json and the messages."""
    for stage in ("search", "train_and_export", "complete_search_log", "select_variants", "measure"):
        monkeypatch.setattr(pipeline, stage, lambda results, *_: results)

    def run(recipe: str, fresh: bool = False) -> tuple[RunInfo, list[str]]:
        view = Listener()
        small_run.carry_out(tmp_path / "run", monkeypatch, recipe, Options(fresh=fresh), view)
        return read_record(tmp_path / "run" / "run.json", RunInfo), view.said

    return run


def weights_of(folder: Path, *names: str) -> Path:
    """A folder with weights for some architectures."""
    folder.mkdir(exist_ok=True)
    for name in names:
        torch.manual_seed(5)
        save_file(timm.create_model(name).state_dict(), folder / f"{name}.safetensors")
    return folder


def test_offline_a_run_begins_from_scratch_and_says_so_in_one_line(
    begin: Callable[..., tuple[RunInfo, list[str]]],
) -> None:
    info, said = begin(text("auto"))
    (line,) = (line for line in said if line.startswith("initial weights"))
    assert "1 from scratch" in line
    assert "HF_HUB_OFFLINE" in line
    assert info.weights[f"{GOOD}@64"].kind == "scratch"
    assert (info.candidates[0].weights, info.candidates[0].interpolation) == ("scratch", None)


def test_what_is_in_the_folder_is_pretrained_and_the_rest_is_not(
    begin: Callable[..., tuple[RunInfo, list[str]]], tmp_path: Path
) -> None:
    folder = weights_of(tmp_path / "stick", GOOD)
    info, said = begin(text("auto", (GOOD, OTHER), f'weights_dir = "{folder.as_posix()}"'))
    assert [candidate.weights for candidate in info.candidates] == ["pretrained", "scratch"]
    assert [candidate.interpolation for candidate in info.candidates] == ["bicubic", None]
    assert info.candidates[0].weights_sha256 == info.weights[f"{GOOD}@64"].sha256
    assert any("1 of 2 candidates pretrained (1 from weights_dir)" in line for line in said)
    filters = {path.name for path in (tmp_path / "run" / ".pepr_edge").glob("pixels-*")}
    assert filters <= {"pixels-64", "pixels-64-bicubic"}


def test_a_recipe_that_names_its_filter_has_it_for_all(
    begin: Callable[..., tuple[RunInfo, list[str]]], tmp_path: Path
) -> None:
    folder = weights_of(tmp_path / "stick", GOOD)
    recipe = text("auto", (GOOD, OTHER), f'weights_dir = "{folder.as_posix()}"')
    info, _ = begin(recipe.replace("[data]", '[data]\ninterpolation = "lanczos"'))
    assert [candidate.interpolation for candidate in info.candidates] == [None, None]


def test_a_run_stays_as_it_began_when_the_network_comes_back(
    begin: Callable[..., tuple[RunInfo, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = begin(text("auto"))
    folder = weights_of(tmp_path / "hub", GOOD)
    looks: list[str] = []

    def look(look_s: float) -> None:
        looks.append("look")

    def download(pretrained: Pretrained) -> Path:
        return folder / f"{GOOD}.safetensors"

    monkeypatch.setattr(hub, "hub_fault", look)
    monkeypatch.setattr(hub, "download", download)
    again, _ = begin(text("auto"))
    assert (again.weights, again.candidates, looks) == (before.weights, before.candidates, [])
    fresh, _ = begin(text("auto"), fresh=True)
    assert fresh.candidates[0].weights == "pretrained"
    # Asked for explicitly, it is another run.
    explicit, _ = begin(text("pretrained"))
    assert explicit.candidates[0].weights == "pretrained"


def test_pretrained_without_a_network_ends_in_one_line_at_once(
    begin: Callable[..., tuple[RunInfo, list[str]]], tmp_path: Path
) -> None:
    started_s = time.perf_counter()
    with pytest.raises(ModelError, match=r"2 of 2 candidates") as caught:
        begin(text("pretrained", (GOOD, OTHER)))
    assert time.perf_counter() - started_s < 10
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_unknown_architecture_is_said_before_its_weights_are_looked_for(
    begin: Callable[..., tuple[RunInfo, list[str]]],
) -> None:
    with pytest.raises(ModelError, match="Did you mean 'mobilenetv2_050'"):
        begin(text("auto", ("mobilenetv2_05",)))


def pictures(folder: Path) -> Path:
    """48 colour images of two classes that are not square, so that each filter gives other pixels."""
    rng = np.random.default_rng(3)
    for number in range(48):
        label = ("dark", "light")[number % 2]
        pixels = rng.integers(0, 160, (*CONTENT_PX, 3)) + 90 * (number % 2)
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number:02}.png")
    return folder


@pytest.mark.slow
def test_a_mixed_run_trains_and_predicts_each_model_on_its_own_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = weights_of(tmp_path / "stick", GOOD)
    recipe = text("auto", (GOOD, OTHER), f'weights_dir = "{folder.as_posix()}"')
    images = pictures(tmp_path / "pictures")
    recipe = recipe.replace('source = "phantom"\nphantom_images = 80', f'source = "{images.as_posix()}"')
    recipe = recipe.replace("[export]", '[export]\nvariants = ["fp32"]')
    run_dir = tmp_path / "run"
    kept = {}
    prepare = pipeline.prepare_images

    def prepared(*arguments: object) -> object:
        info = prepare(*arguments)  # type: ignore[arg-type]
        for path in (run_dir / ".pepr_edge").glob("pixels-*"):
            kept[path.name] = np.load(path / "test_pixels.npy")
        return info

    monkeypatch.setattr(pipeline, "prepare_images", prepared)
    ranking = small_run.carry_out(run_dir, monkeypatch, recipe)

    specs = {}
    for name in (GOOD, OTHER):
        trained = read_record(run_dir / "candidates" / f"{name}@64" / "train.json", TrainResult)
        specs[name] = trained.preprocess
        assert trained.weights_match == ("names" if name == GOOD else "")
    assert (specs[GOOD].interpolation, specs[GOOD].mean, specs[GOOD].std) == ("bicubic", MEAN, STD)
    assert specs[OTHER].interpolation == "bilinear"
    assert specs[OTHER].mean != MEAN

    assert {row.architecture: row.weights for row in ranking.rows} == {GOOD: "pretrained", OTHER: "scratch"}
    assert "1 of 2 candidates from scratch" in " ".join(conclusion(ranking).split())
    assert read_record(run_dir / "ranking.json", Ranking) == ranking

    results = load(run_dir)
    files = sorted(images.rglob("*.png"))
    for bundle in (run_dir / "bundles").iterdir():
        manifest = read_manifest(bundle)
        spec = manifest.preprocess
        assert spec == specs[manifest.architecture]
        suffix = "-bicubic" if manifest.architecture == GOOD else ""
        of_training = to_tensor(kept[f"pixels-64{suffix}"], spec)
        in_field = load_tensor(files, spec)
        # Each image of the test split is one of the files, to the last bit.
        of_field = {image.tobytes() for image in in_field}
        assert all(image.tobytes() in of_field for image in of_training)
        (entry,) = (one for one in results.entries if one.candidate.architecture == manifest.architecture)
        session = onnxruntime.open(bundle / "model.onnx", manifest.profile.settings)
        logits = onnxruntime.run(session, of_training)
        np.testing.assert_allclose(logits, entry.predictions()["test"], atol=1e-4)
        done = command_line.run(capsys, monkeypatch, "predict", bundle, *files, "--json")
        light = [one["probabilities"]["light"] for one in json.loads(done.out)["predictions"]]
        assert manifest.decision is not None
        powers = np.exp(logits / manifest.decision.temperature)
        expected = powers[:, 1] / powers.sum(axis=1)
        assert all(np.isclose(light, value, atol=1e-5).any() for value in expected)
        assert "The training began" in (bundle / "MODEL_CARD.md").read_text()
    assert len(list((run_dir / "bundles").iterdir())) == 2
