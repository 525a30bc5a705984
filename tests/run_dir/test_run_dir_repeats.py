"""Candidates that were trained with several seeds, read back from a run directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_records
import numpy as np
import pytest
from made_records import RECIPE

from pepr_edge.ranking.row import performances_of
from pepr_edge.records import Epoch, Estimate, InterruptionLoss, Quantity, TrainingState, TrainResult
from pepr_edge.run_dir.current import deployed
from pepr_edge.run_dir.keys import run_key, seed_of, train_key
from pepr_edge.run_dir.layout import candidate_folder, repeat_folder, stage_files
from pepr_edge.run_dir.reader import Results, load
from pepr_edge.run_dir.spent import spent
from pepr_edge.run_dir.store import write_record, write_text
from pepr_edge.run_dir.variant_figures import resources_used, seed_performances


def training(run: Path, repeat: int, value: float, loss: float = 0.5, joules: float = 100.0) -> TrainResult:
    """Return repeat number `repeat` of the candidate "small", with this performance on validation."""
    recipe = made_records.recipe()
    info = made_records.info("small", "large")
    key = train_key(info.candidates[0], recipe, info.data, repeat=repeat)
    estimates = {
        "val_accuracy": Estimate(value=value, ci=(0.0, 1.0), split="val", n=made_records.N_VAL),
        "accuracy": Estimate(value=value - 0.1, ci=(0.0, 1.0), split="test", n=100),
    }
    epoch = Epoch(
        epoch=1, train_loss=1.0, val_loss=loss, val_performance=value, duration_s=1.0, energy_j=joules
    )
    return made_records.trained("small", joules, key=key).replace(
        performance=estimates, epochs=(epoch,), seed=seed_of(recipe, repeat)
    )


def write_training(run: Path, repeat: int, value: float, joules: float = 100.0) -> TrainResult:
    trained = training(run, repeat, value, joules=joules)
    folder = repeat_folder(candidate_folder(run, trained.candidate), repeat)
    write_record(folder / "train.json", trained)
    write_text(folder / trained.checkpoint, "checkpoint small")
    return trained


def read(run: Path, settings: str = "repeats = 3") -> Results:
    write_text(run / "recipe.toml", f"{RECIPE}[train]\n{settings}\n")
    return load(run, verify=True)


def test_a_run_directory_without_repeats_has_one_training(made_run: Path) -> None:
    entry = load(made_run).entries[0]
    assert entry.repeats == (entry.trained,)
    assert entry.training_folder == entry.folder.parent
    assert load(made_run).entries[1].repeats == ()


@pytest.mark.parametrize("settings", ["repeats = 2", 'repeats = "auto"', "max_repeats = 9"])
def test_how_often_a_training_is_repeated_makes_no_training_stale(made_run: Path, settings: str) -> None:
    assert read(made_run, settings).entries[0].measured is not None


def test_the_key_of_a_repeat_is_that_of_its_seed() -> None:
    recipe = made_records.recipe()
    info = made_records.info("small")
    key = train_key(info.candidates[0], recipe, info.data, repeat=1)
    assert key != train_key(info.candidates[0], recipe, info.data)
    assert key == train_key(info.candidates[0], recipe.model_copy(update={"seed": 1}), info.data)
    assert seed_of(recipe.model_copy(update={"seed": 2**32 - 1}), 2) == 1


def test_repeats_change_the_key_of_a_run_and_their_defaults_do_not() -> None:
    def key(more: str) -> str:
        return run_key(made_records.recipe(more), ["data"], {})

    assert key("[train]\nrepeats = 1\nmax_repeats = 3") == key("")
    assert len({key(""), key("[train]\nrepeats = 2"), key('[train]\nrepeats = "auto"')}) == 3


def test_the_best_seed_on_validation_is_deployed(made_run: Path) -> None:
    first = write_training(made_run, 0, 0.8)
    second = write_training(made_run, 1, 0.9)
    results = read(made_run)
    entry = results.entries[0]
    assert entry.repeats == (first, second)
    assert entry.trained == second
    assert entry.training_folder == made_run / "candidates" / "small@64" / "seed-1"
    assert entry.artifact is None, "the export is of the first seed, so it is stale"
    assert results.trainings(entry.candidate) == {0: first, 1: second}
    assert results.deployed_repeat(entry.candidate) == 1


def test_a_worse_seed_leaves_the_export_current(made_run: Path) -> None:
    first = write_training(made_run, 0, 0.8)
    write_training(made_run, 2, 0.7)
    entry = read(made_run).entries[0]
    assert (len(entry.repeats), entry.trained) == (2, first)
    assert entry.profile is not None


def test_no_more_seeds_are_read_than_the_recipe_wants(made_run: Path) -> None:
    write_training(made_run, 0, 0.7)
    write_training(made_run, 1, 0.8)
    write_training(made_run, 2, 0.9)
    for settings, count in (
        ("repeats = 1", 1),
        ("repeats = 2", 2),
        ('repeats = "auto"', 3),
        ('repeats = "auto"\nmax_repeats = 2', 2),
    ):
        assert len(read(made_run, settings).entries[0].repeats) == count


def test_a_seed_whose_checkpoint_is_torn_does_not_count(made_run: Path) -> None:
    write_training(made_run, 0, 0.8)
    write_training(made_run, 1, 0.9)
    write_text(made_run / "candidates" / "small@64" / "seed-1" / "checkpoint.safetensors", "torn")
    assert len(read(made_run).entries[0].repeats) == 1


def test_ties_go_to_the_lower_loss_and_then_to_the_lower_seed(tmp_path: Path) -> None:
    first = training(tmp_path, 0, 0.8, loss=0.5)
    same = training(tmp_path, 1, 0.8, loss=0.5)
    lower_loss = training(tmp_path, 2, 0.8, loss=0.4)
    undefined = first.replace(performance={})
    assert deployed([]) is None
    assert deployed([first, same]) == first
    assert deployed([first, same, lower_loss]) == lower_loss
    assert deployed([undefined, same]) == same


def test_performance_and_cost_are_means_over_the_seeds(made_run: Path) -> None:
    write_training(made_run, 0, 0.9, joules=100.0)
    write_training(made_run, 1, 0.8, joules=300.0)
    entry = read(made_run).entries[0]
    assert entry.artifact is not None
    own = entry.artifact.performance["val_accuracy"]
    fields = performances_of(entry, "accuracy")
    assert fields["repeats"] == 2
    assert fields["performance"] == pytest.approx(own.value - 0.05)
    assert fields["performance_sd"] == pytest.approx(0.1 / np.sqrt(2))
    assert fields["performance_ci"] == pytest.approx((own.ci[0] - 0.05, own.ci[1] - 0.05))
    assert fields["test_performance_mean"] == pytest.approx(0.75)
    values, methods = resources_used(entry, 900)
    assert (values["train_energy"], methods["train_energy"]) == (200.0, "measured")


def test_one_training_has_its_own_performance_and_no_deviation(made_run: Path) -> None:
    entry = load(made_run).entries[0]
    assert entry.artifact is not None
    fields = performances_of(entry, "accuracy")
    assert fields["performance"] == entry.artifact.performance["val_accuracy"].value
    assert fields["repeats"] == 1
    assert "performance_sd" not in fields


def test_energies_obtained_in_different_ways_have_no_mean(made_run: Path) -> None:
    write_training(made_run, 0, 0.9)
    entry = read(made_run).entries[0]
    first = entry.repeats[0]
    declared = Quantity(value=5.0, method="declared")
    other = first.replace(cost=first.cost.replace(energy_j=declared))
    values, methods = resources_used(replace(entry, repeats=(first, other)), 900)
    assert (values["train_energy"], methods["train_energy"]) == (None, "unavailable")
    assert values["train_time"] == 60.0


def test_a_metric_that_is_not_recorded_is_read_from_the_logits_of_each_seed(made_run: Path) -> None:
    folder = made_run / "candidates" / "small@64"
    labels = np.array([0, 0, 1, 1])
    right = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    for repeat, logits in ((0, right), (1, np.flip(right, axis=1))):
        write_training(made_run, repeat, 0.9)
        np.savez(repeat_folder(folder, repeat) / "logits.npz", val=logits, test=logits)
    np.savez(
        folder / "fp32" / "predictions.npz", val=right, test=right, val_labels=labels, test_labels=labels
    )
    entry = read(made_run).entries[0]
    assert seed_performances(entry, "balanced_accuracy", "val") == (1.0, 0.0)
    assert seed_performances(entry, "accuracy", "val") == (0.9, 0.9), "as recorded"


def test_the_total_holds_repeats_and_what_was_not_finished(made_run: Path) -> None:
    write_training(made_run, 0, 0.9, joules=100.0)
    second = write_training(made_run, 1, 0.8, joules=300.0)
    results = read(made_run)
    large = results.info.candidates[1]
    unfinished = TrainingState(
        key=train_key(large, results.recipe, results.info.data),
        candidate=large,
        num_params=1,
        layout="contiguous",
        precision="float32",
        probes=(),
        epochs_wanted=10,
        cost=second.cost.replace(energy_j=Quantity(value=7.0, method="declared")),
        lost=InterruptionLoss(),
    )
    write_record(candidate_folder(made_run, large) / "training.json", unfinished)
    total = spent(load(made_run))
    assert total is not None
    evaluation_and_setup = sum(
        value.value or 0.0
        for name, value in second.cost
        if name.endswith("energy_j") and name != "energy_j" and value is not None
    )
    assert total.energy_j.value == pytest.approx(407 + 3 * evaluation_and_setup)
    assert total.energy_j.method == "declared"
    assert "3 trainings" in total.energy_j.source
    assert spent(replace(results, entries=(), unranked=())) is not None, "the unfinished training"


def test_files_of_repeats_are_known_as_ours() -> None:
    ours = stage_files(["fp32"])
    for name in ("seed-1/train.json", "seed-12/training-3.pt", "seed-2/log.txt", "train.json"):
        assert ours.fullmatch(name), name
    for name in ("seed-0/train.json", "seed-1/notes.txt", "seed-x/train.json", "seed-1/fp32/model.onnx"):
        assert not ours.fullmatch(name), name
