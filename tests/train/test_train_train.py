from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from pepr_edge.data import Dataset
from pepr_edge.energy.carbon import intensity
from pepr_edge.errors import ModelError
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, TrainCost, TrainResult
from pepr_edge.run_dir.store import read_record
from pepr_edge.scoring.metrics import METRICS
from pepr_edge.train.loop import predict
from pepr_edge.train.models import create, restore
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.setup import choose_device, pixel_statistics, preprocess_of
from pepr_edge.train.step import ComputeMode
from pepr_edge.train.train import train

MakeRecipe = Callable[..., ResolvedRecipe]
CANDIDATE = Candidate(architecture="test_efficientnet", image_size_px=32, in_channels=1, num_classes=2)
WATTS = 5.0


class Made(NamedTuple):
    """A training, its folder, and the CPU seconds that this process used for it."""

    result: TrainResult
    folder: Path
    cpu_s: float


def carry_out(
    recipe: ResolvedRecipe, data: Dataset, folder: Path, candidate: Candidate | None = None, **changes: Any
) -> Made:
    # Not exclusive, so that energy counters are not used even if the machine has them.
    options = {"threads": 1, "exclusive": False, "progress": lambda *_: None, **changes}
    before_s = time.process_time()
    result = train(TrainingJob(candidate or CANDIDATE, data, recipe, folder, "a key", **options))
    return Made(result, folder, time.process_time() - before_s)


@pytest.fixture(scope="module")
def made(recipe: MakeRecipe, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    chosen = recipe(workstation={"watts_per_core": WATTS, "country": "DNK"}, seed=3)
    return carry_out(chosen, data, tmp_path_factory.mktemp("candidate") / "folder")


def value(made: Made, name: str) -> float:
    actual = getattr(made.result.cost, name).value
    assert actual is not None, name
    return float(actual)


def test_the_record_on_disk_is_the_returned_one(made: Made) -> None:
    assert read_record(made.folder / "train.json", TrainResult) == made.result
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "checkpoint.safetensors",
        "logits.npz",
        "train.json",
    ]


def test_the_record_describes_the_training(made: Made, data: Dataset) -> None:
    actual = made.result
    assert (actual.key, actual.candidate, actual.data_sha256) == ("a key", CANDIDATE, data.info.sha256)
    assert (actual.protocol, actual.mode) == ("default", "full")
    assert (actual.seed, actual.performance_metric) == (3, "accuracy")
    assert (len(actual.epochs), actual.stopped_early) == (2, False)
    assert actual.num_params == sum(parameter.numel() for parameter in create(CANDIDATE).parameters())
    assert actual.environment.threads == 1
    assert {"torch", "timm", "numpy", "pillow"} <= actual.environment.versions.keys()
    fastest = max(actual.probes, key=lambda row: row.images_per_s or 0)
    assert len(actual.probes) == 4
    assert (actual.layout, actual.precision) == (fastest.layout, fastest.precision)


def test_every_cost_has_a_method_and_a_source(made: Made) -> None:
    methods = {name: getattr(made.result.cost, name).method for name in TrainCost.model_fields}
    assert methods == {
        "energy_j": "declared",
        "co2eq_g": "declared",
        "duration_s": "measured",
        "peak_memory_bytes": "measured",
        "gpu_peak_memory_bytes": "unavailable",
        "images": "counted",
        "evaluation_energy_j": "declared",
        "evaluation_duration_s": "measured",
        "setup_energy_j": "declared",
        "setup_co2eq_g": "declared",
        "setup_duration_s": "measured",
    }
    for name in TrainCost.model_fields:
        quantity = getattr(made.result.cost, name)
        assert quantity.source, name
        assert (quantity.value is None) == (quantity.method == "unavailable"), name
    assert made.result.cost.gpu_peak_memory_bytes.source == "trained on a CPU"
    assert 5e7 < value(made, "peak_memory_bytes") < 1e11


def test_declared_energy_is_watts_times_the_cpu_seconds_of_the_training(made: Made) -> None:
    energy_j = value(made, "energy_j") + value(made, "evaluation_energy_j") + value(made, "setup_energy_j")
    assert 0.3 * WATTS * made.cpu_s < energy_j <= 1.05 * WATTS * made.cpu_s


def test_the_training_cost_is_that_of_all_epochs_and_the_probe_is_setup(made: Made) -> None:
    epochs = made.result.epochs
    assert value(made, "images") == 2 * 45
    assert all(epoch.energy_j is not None and epoch.energy_j > 0 for epoch in epochs)
    assert sum(epoch.energy_j or 0 for epoch in epochs) == pytest.approx(value(made, "energy_j"))
    assert sum(epoch.duration_s for epoch in epochs) == pytest.approx(value(made, "duration_s"))
    assert value(made, "setup_energy_j") > 0
    assert value(made, "setup_duration_s") > 0


def test_evaluation_is_counted_separately(made: Made) -> None:
    """Validation after both epochs and the final evaluation: 3 passes over few images."""
    assert 0 < value(made, "evaluation_duration_s") < value(made, "duration_s")
    assert 0 < value(made, "evaluation_energy_j") < value(made, "energy_j")


def test_carbon_follows_the_country(made: Made) -> None:
    expected_g = value(made, "energy_j") / 3.6e6 * intensity("DNK").g_per_kwh
    assert value(made, "co2eq_g") == pytest.approx(expected_g)


def test_the_checkpoint_has_its_checksum_and_restores_to_the_same_logits(made: Made, data: Dataset) -> None:
    path = made.folder / made.result.checkpoint
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made.result.checkpoint_sha256
    model = restore(CANDIDATE, path)
    with np.load(made.folder / "logits.npz") as logits:
        assert sorted(logits) == ["test", "val"]
        for split in ("val", "test"):
            actual = predict(model, data.splits[split][0], made.result.preprocess, ComputeMode())
            np.testing.assert_allclose(logits[split], actual, atol=1e-4)


def test_every_test_image_has_logits_and_the_performance_is_computed_from_them(
    made: Made, data: Dataset
) -> None:
    with np.load(made.folder / "logits.npz") as logits:
        for split, name in (("val", "val_accuracy"), ("test", "accuracy")):
            labels = data.splits[split][1]
            assert logits[split].shape == (len(labels), 2)
            actual = made.result.performance[name]
            assert actual.value == float((logits[split].argmax(1) == labels).mean())
            assert (actual.split, actual.n) == (split, len(labels))
            assert actual.ci[0] <= actual.value <= actual.ci[1]
    assert {*METRICS, *(f"val_{name}" for name in METRICS)} == made.result.performance.keys()


def test_the_performance_on_validation_is_that_of_the_best_epoch(made: Made) -> None:
    best = made.result.epochs[made.result.best_epoch - 1]
    assert best.val_performance == max(epoch.val_performance for epoch in made.result.epochs)
    assert made.result.performance["val_accuracy"].value == best.val_performance


def test_from_scratch_the_images_are_normalised_by_the_training_pixels(made: Made, data: Dataset) -> None:
    pixels = data.splits["train"][0].astype(np.float64) / 255
    spec = made.result.preprocess
    assert spec.mean == pytest.approx([pixels.mean()], abs=1e-6)
    assert spec.std == pytest.approx([pixels.std()], abs=1e-6)
    assert (spec.channels, spec.image_size_px, spec.scale, spec.interpolation) == (1, 32, 255.0, "bilinear")


def test_weights_from_a_file_keep_their_own_normalisation(recipe: MakeRecipe, data: Dataset) -> None:
    candidate = CANDIDATE.model_copy(update={"weights": "weights.safetensors"})
    spec = preprocess_of(candidate, create(CANDIDATE), data, recipe())
    assert spec.mean == pytest.approx([0.449])
    assert spec.std == pytest.approx([0.226])


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_statistics_equal_numpys_over_all_parts(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2100, 4, 4, channels), dtype=np.uint8)
    pixels[2000:, :, :, 0] = 255
    mean, std = pixel_statistics(pixels)
    assert mean == pytest.approx((pixels / 255).mean(axis=(0, 1, 2)), abs=1e-6)
    assert std == pytest.approx((pixels / 255).std(axis=(0, 1, 2)), abs=1e-6)


def test_a_constant_channel_is_not_divided_by_zero() -> None:
    assert pixel_statistics(np.full((3, 4, 4, 1), 51, np.uint8)) == ((0.2,), (0.001,))


def test_without_watts_only_energy_and_carbon_are_unknown(
    recipe: MakeRecipe, data: Dataset, tmp_path: Path
) -> None:
    made = carry_out(recipe(train={"epochs": 1}), data, tmp_path)
    for name in ("energy_j", "co2eq_g", "evaluation_energy_j"):
        quantity = getattr(made.result.cost, name)
        assert (quantity.value, quantity.method) == (None, "unavailable"), name
    assert "watts_per_core is not given" in made.result.cost.energy_j.source
    assert made.result.epochs[0].energy_j is None
    assert value(made, "duration_s") > 0


def test_mode_head_does_not_change_the_backbone(recipe: MakeRecipe, data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(5)
    given = timm.create_model("test_efficientnet", in_chans=1, num_classes=2).state_dict()
    save_file({**given, "loss.weight": torch.ones(2)}, tmp_path / "weights.safetensors")
    chosen = recipe(train={"mode": "head", "epochs": 1})
    candidate = CANDIDATE.replace(weights="file")
    weights = str(tmp_path / "weights.safetensors")
    made = carry_out(chosen, data, tmp_path / "folder", candidate=candidate, weights_file=weights)
    actual = load_file(made.folder / made.result.checkpoint)
    changed = {name for name in given if not torch.equal(actual[name], given[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert made.result.mode == "head"
    assert made.result.weights_match == "names"
    assert made.result.weights_notes == ("1 tensor beside the model left out",)
    assert made.result.preprocess.mean == pytest.approx(
        (0.449,)
    )  # as the weights of this architecture expect
    assert made.result.num_params == sum(parameter.numel() for parameter in create(CANDIDATE).parameters())


@pytest.mark.parametrize(("weights", "mode"), [("scratch", "full"), ("file", "gradual")])
def test_mode_gradual_is_full_from_scratch(
    recipe: MakeRecipe, data: Dataset, tmp_path: Path, weights: str, mode: str
) -> None:
    """Random weights of a backbone are not worth keeping for a tenth of the steps."""
    file = tmp_path / "weights.safetensors"
    save_file(create(CANDIDATE).state_dict(), file)
    made = carry_out(
        recipe(train={"epochs": 1, "mode": "gradual"}),
        data,
        tmp_path / "folder",
        candidate=CANDIDATE.replace(weights=weights),
        weights_file=str(file) if weights == "file" else "",
    )
    assert made.result.mode == mode


def test_weights_that_are_gone_are_not_replaced_by_random_ones(
    recipe: MakeRecipe, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"no longer on this machine.+--fresh"):
        carry_out(recipe(), data, tmp_path, candidate=CANDIDATE.replace(weights="pretrained"))


def test_an_early_stop_is_recorded(recipe: MakeRecipe, data: Dataset, tmp_path: Path) -> None:
    # The learning rate is nearly 0, so that validation does not improve after the first epoch.
    settings = {"epochs": 9, "patience": 1, "learning_rate": 1e-12, "augment": "none", "mode": "head"}
    made = carry_out(recipe(train=settings), data, tmp_path)
    assert made.result.stopped_early
    assert len(made.result.epochs) == 2


def test_progress_is_reported(recipe: MakeRecipe, data: Dataset, tmp_path: Path) -> None:
    reported: list[tuple[int, int, int]] = []

    def progress(done: int, total: int, epoch: int, best: float) -> None:
        reported.append((done, total, epoch))

    carry_out(recipe(train={"epochs": 1}), data, tmp_path, progress=progress)
    assert reported == [(1, 2, 1), (2, 2, 1)]


def test_a_model_that_cannot_be_built_leaves_no_files(
    recipe: MakeRecipe, data: Dataset, tmp_path: Path
) -> None:
    candidate = CANDIDATE.model_copy(update={"architecture": "no_such_net"})
    folder = tmp_path / "folder"
    job = TrainingJob(candidate, data, recipe(), folder, "key", 1, exclusive=False, progress=lambda *_: None)
    with pytest.raises(ModelError, match="no_such_net: unknown architecture"):
        train(job)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_error_for_cuda_without_a_gpu_says_what_to_do() -> None:
    with pytest.raises(ModelError, match=r'train\.device = "cuda".+"auto"'):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
