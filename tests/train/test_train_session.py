"""Trainings that are interrupted, paused, stopped early, or only probed.

test_engine_local.py kills them as processes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pepr_edge.data import Dataset
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, CostProbe, ProbeResult, TrainCost, TrainingState, TrainResult
from pepr_edge.run_dir.current import current_cost_probe, current_training, current_training_state
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.train import cost_tracker, session
from pepr_edge.train.models import create
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.step import ComputeMode, TrainStep
from pepr_edge.train.train import TIMED_STEPS, probe_cost, train, train_until

CANDIDATE = Candidate(architecture="test_efficientnet", image_size_px=32, in_channels=1, num_classes=2)
IMAGES, STEPS = 45, 3  # of an epoch


class PowerCut(Exception):  # noqa: N818
    """The training stops at once."""


@pytest.fixture
def job(
    recipe: Callable[..., ResolvedRecipe],
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fixed_mode: ComputeMode,
) -> TrainingJob:
    """Three epochs of three steps in a fixed mode; the cost is saved at every step."""
    monkeypatch.setattr(cost_tracker, "PERIOD_S", 0.0)
    settings = {"epochs": 3, "batch_size": 16, "device": "cpu", "learning_rate": 0.01}
    chosen = recipe(train=settings, workstation={"watts_per_core": 5.0}, seed=3)
    return TrainingJob(
        CANDIDATE,
        data,
        chosen,
        tmp_path / "job",
        "a key",
        threads=1,
        exclusive=False,
        progress=lambda *_: None,
    )


@pytest.fixture(scope="module")
def whole() -> list[tuple[Any, ...]]:
    """A cache for the outcome of an uninterrupted training."""
    return []


def outcome(result: TrainResult, folder: Path) -> tuple[Any, ...]:
    """Everything about a training except its cost."""
    epochs = [epoch.model_dump(exclude={"duration_s", "energy_j"}) for epoch in result.epochs]
    with np.load(folder / "logits.npz") as arrays:
        logits = {split: arrays[split].tobytes() for split in arrays}
    return result.checkpoint_sha256, logits, epochs, result.best_epoch


def uninterrupted(job: TrainingJob, whole: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    if not whole:
        other = replace(job, folder=job.folder.with_name("whole"))
        whole.append(outcome(train(other), other.folder))
    return whole[0]


def setup_s(cost: TrainCost) -> float:
    assert cost.setup_duration_s is not None
    return cost.setup_duration_s.value or 0.0


def interrupt(job: TrainingJob, epoch: int, step: int, act: Callable[[TrainingJob], object] = train) -> None:
    """Begin or resume, and stop at a step; everything that is not on disk is lost."""

    def progress(done: int, total: int, current: int, best: float) -> None:
        if (current, done) == (epoch, step):
            raise PowerCut

    with pytest.raises(PowerCut):
        act(replace(job, progress=progress))


def files(job: TrainingJob) -> list[str]:
    return sorted(path.name for path in job.folder.iterdir())


def forbid_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the mode is probed again")

    monkeypatch.setattr(session, "probe", fail)


FINISHED = ["checkpoint.safetensors", "logits.npz", "train.json"]
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("epoch", "step"), [pytest.param(1, 1, marks=SLOW), (2, 3), pytest.param(3, 2, marks=SLOW)]
)
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    job: TrainingJob, whole: list[tuple[Any, ...]], epoch: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(job, whole)
    interrupt(job, epoch, step)
    states = [] if epoch == 1 else [f"training-{epoch - 1}.pt"]
    assert files(job) == sorted(["spent.json", "training.json", *states])
    forbid_probe(monkeypatch)
    torch.manual_seed(77)
    epochs: list[int] = []
    result = train(replace(job, progress=lambda done, total, current, best: epochs.append(current)))
    assert outcome(result, job.folder) == expected
    assert epochs == np.repeat(range(epoch, 4), STEPS).tolist()
    assert files(job) == FINISHED


def test_a_training_keeps_the_threads_that_its_probe_chose(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(*arguments: Any) -> tuple[int, list[ProbeResult]]:
        torch.set_num_threads(1)
        return 1, [ProbeResult(layout="contiguous", precision="float32", images_per_s=9.0, threads=1)]

    probe_modes = session.probe

    def modes_with_one_thread(*arguments: Any, **options: Any) -> Any:
        assert torch.get_num_threads() == 1
        return probe_modes(*arguments, **options)

    monkeypatch.setattr(session, "probe_threads", one)
    monkeypatch.setattr(session, "probe", modes_with_one_thread)
    paused = train_until(replace(job, threads=2), 1)
    assert (paused.threads, [probe.threads for probe in paused.probes]) == (1, [1, None])
    forbid_probe(monkeypatch)
    torch.set_num_threads(2)
    result = train(replace(job, threads=2))
    assert result.environment.threads == torch.get_num_threads() == 1
    assert result.probes == paused.probes


def test_the_cost_includes_lost_work(job: TrainingJob) -> None:
    """The second epoch is interrupted after 16 images, then after 32."""
    interrupt(job, 2, 1)
    interrupt(job, 2, 2)
    cost = train(job).cost
    assert cost.images.value == 3 * IMAGES + 16 + 32
    assert "48 were lost to 2 interruptions" in cost.images.source
    assert "lost to 2 interruptions" in cost.duration_s.source
    assert "lost to 2 interruptions" in cost.energy_j.source
    assert cost.energy_j.method == "declared"


@SLOW
def test_the_parts_of_the_cost_add_up(job: TrainingJob) -> None:
    interrupt(job, 2, 2)
    saved = read_record(job.folder / "training.json", TrainingState)
    spent = cost_tracker.read_snapshot(job.folder, "a key")
    assert spent is not None
    result = train(job)
    lost_s = (spent.cost.duration_s.value or 0) - (saved.cost.duration_s.value or 0)
    lost_j = (spent.cost.energy_j.value or 0) - (saved.cost.energy_j.value or 0)
    assert min(lost_s, lost_j) > 0
    epochs_s = sum(epoch.duration_s for epoch in result.epochs)
    epochs_j = sum(epoch.energy_j or 0 for epoch in result.epochs)
    assert result.cost.duration_s.value == pytest.approx(lost_s + epochs_s)
    assert result.cost.energy_j.value == pytest.approx(lost_j + epochs_j)
    assert setup_s(result.cost) > setup_s(saved.cost) > 0  # it was set up again


def test_a_paused_training_ends_like_one_without_a_pause_and_loses_nothing(
    job: TrainingJob, whole: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(job, whole)
    first = train_until(job, 1)
    assert (len(first.epochs), first.epochs_wanted, first.best_epoch, first.stopped_early) == (1, 3, 1, False)
    assert files(job) == ["training-1.pt", "training.json"]
    saved = current_training_state(job.folder, "a key")
    assert saved is not None
    assert saved.model_copy(update={"state": None, "state_sha256": None}) == first
    forbid_probe(monkeypatch)
    second = train_until(job, 2)
    assert second.epochs[:1] == first.epochs
    assert (second.cost.images.value, len(second.epochs)) == (2 * IMAGES, 2)
    result = train(job)
    assert outcome(result, job.folder) == expected
    assert result.cost.images.value == 3 * IMAGES
    assert "lost" not in result.cost.model_dump_json()
    durations_s = [stage.cost.duration_s.value or 0 for stage in (first, second, result)]
    assert durations_s[0] < durations_s[1] < durations_s[2]


def test_a_training_that_stops_early_takes_its_best_epoch_so_far(job: TrainingJob) -> None:
    before = train_until(job, 2)

    def fail(*_: object) -> None:
        raise AssertionError("another step is taken")

    result = train(replace(job, progress=fail), 2)
    assert (result.epochs, result.best_epoch) == (before.epochs, before.best_epoch)
    assert result.stopped_early
    assert result.cost.energy_j == before.cost.energy_j
    assert result.performance["val_accuracy"].value == result.epochs[result.best_epoch - 1].val_performance
    # The state is kept: the training may be resumed with a larger budget.
    assert files(job) == sorted([*FINISHED, "training-2.pt", "training.json"])
    assert current_training(job.folder, "a key") == result
    assert current_training_state(job.folder, "a key") is not None


@SLOW
def test_a_training_with_other_inputs_is_not_resumed(job: TrainingJob) -> None:
    train_until(job, 2)
    other = replace(job, key="another key")
    assert current_training_state(job.folder, "another key") is None
    epochs: list[int] = []
    recording = replace(other, progress=lambda done, total, current, best: epochs.append(current))
    result = train_until(recording, 1)
    assert set(epochs) == {1}
    assert result.cost.images.value == IMAGES
    assert files(job) == ["training-1.pt", "training.json"]


@pytest.mark.parametrize(
    "tear",
    [
        lambda content: content[:100] + b"?" + content[101:],
        pytest.param(lambda content: content[:-9], marks=SLOW),
        pytest.param(lambda content: b"", marks=SLOW),
    ],
)
def test_a_torn_state_is_not_used_but_its_cost_is(job: TrainingJob, tear: Callable[[bytes], bytes]) -> None:
    before = train_until(job, 1)
    path = job.folder / "training-1.pt"
    path.write_bytes(tear(path.read_bytes()))
    assert current_training_state(job.folder, "a key") is None
    after = train_until(job, 1)
    assert after.cost.images.value == 2 * IMAGES
    assert (after.lost.interruptions, after.lost.images) == (1, IMAGES)
    assert after.lost.duration_s == before.cost.duration_s.value
    assert current_training_state(job.folder, "a key") is not None


def test_a_training_with_a_torn_record_begins_again(job: TrainingJob) -> None:
    train_until(job, 1)
    path = job.folder / "training.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert current_training_state(job.folder, "a key") is None
    assert train_until(job, 1).cost.images.value == IMAGES


class Evil:
    """Runs code if it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_an_untrusted_state_runs_no_code(job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    from pepr_edge.run_dir.store import sha256_file

    train_until(job, 1)
    path = job.folder / "training-1.pt"
    torch.save({"model": Evil()}, path)
    record = read_record(job.folder / "training.json", TrainingState)
    write_record(job.folder / "training.json", record.model_copy(update={"state_sha256": sha256_file(path)}))
    monkeypatch.chdir(job.folder)
    assert train_until(job, 1).lost.interruptions == 1
    assert files(job) == ["training-1.pt", "training.json"]


def test_a_cost_probe_estimates_an_epoch_and_is_counted_once(
    job: TrainingJob, whole: list[tuple[Any, ...]], fixed_mode: ComputeMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(job, whole)
    actual = probe_cost(job)
    assert files(job) == ["probe.json", "training.json"]
    assert current_cost_probe(job.folder, "a key") == actual
    assert read_record(job.folder / "probe.json", CostProbe) == actual
    assert current_cost_probe(job.folder, "another key") is None
    assert (actual.layout, actual.precision) == (fixed_mode.layout, fixed_mode.precision)
    assert actual.steps == TIMED_STEPS
    assert actual.epoch_duration_s.value == pytest.approx(IMAGES / actual.images_per_s)
    assert actual.epoch_energy_j.method == "declared"
    assert f"{TIMED_STEPS} steps" in actual.epoch_energy_j.source
    assert setup_s(actual.cost) > TIMED_STEPS * 13 / actual.images_per_s
    assert (actual.cost.duration_s.value, actual.cost.energy_j.value) == (0.0, 0.0)
    assert actual.peak_memory_bytes.value
    forbid_probe(monkeypatch)
    result = train(job)
    assert outcome(result, job.folder) == expected
    epochs_s = sum(epoch.duration_s for epoch in result.epochs)
    epochs_j = sum(epoch.energy_j or 0 for epoch in result.epochs)
    assert result.cost.duration_s.value == pytest.approx(epochs_s)
    assert result.cost.energy_j.value == pytest.approx(epochs_j)
    assert setup_s(result.cost) > setup_s(actual.cost)
    assert result.cost.images.value == 3 * IMAGES


@pytest.mark.parametrize(("mode", "alone"), [("full", 0), ("gradual", 1)])
def test_a_cost_probe_takes_as_large_a_share_of_steps_of_the_classifier_alone(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch, fixed_mode: ComputeMode, mode: str, alone: int
) -> None:
    weights = job.folder.parent / "weights.safetensors"
    save_file(create(job.candidate).state_dict(), weights)
    train_settings = job.recipe.train.model_copy(update={"mode": mode})
    begun = replace(
        job,
        candidate=job.candidate.replace(weights="file"),
        weights_file=str(weights),
        recipe=job.recipe.model_copy(update={"train": train_settings}),
    )
    trained: list[int] = []
    original = TrainStep.__call__

    def step(self: TrainStep, *arguments: Any) -> torch.Tensor:
        trained.append(sum(parameter.requires_grad for parameter in self.model.parameters()))
        return original(self, *arguments)

    monkeypatch.setattr(TrainStep, "__call__", step)
    probe_cost(begun)
    timed = trained[-TIMED_STEPS:]
    assert timed.count(2) == alone
    assert timed.count(max(timed)) == TIMED_STEPS - alone


@SLOW
def test_a_cost_probe_does_not_change_an_unfinished_training(
    job: TrainingJob, whole: list[tuple[Any, ...]]
) -> None:
    expected = uninterrupted(job, whole)
    train_until(job, 1)
    probe_cost(job)
    assert files(job) == ["probe.json", "training-1.pt", "training.json"]
    assert outcome(train(job), job.folder) == expected


def test_the_cost_of_an_interrupted_cost_probe_counts(job: TrainingJob) -> None:
    interrupt(job, 0, 4, probe_cost)
    assert files(job) == ["spent.json", "training.json"]
    actual = probe_cost(job)
    record = read_record(job.folder / "training.json", TrainingState)
    assert (record.lost.interruptions, record.cost) == (1, actual.cost)
    # The lost steps were part of the setup, and no training was lost.
    assert record.lost.duration_s == 0.0


def test_files_of_a_killed_process_are_removed(job: TrainingJob) -> None:
    train_until(job, 1)
    (job.folder / ".training-2.pt.77.tmp").write_bytes(b"half")
    shutil.copy(job.folder / "training-1.pt", job.folder / "training-2.pt")
    train_until(job, 3)
    assert files(job) == ["training-3.pt", "training.json"]
    train(job)
    assert files(job) == FINISHED


def test_patience_also_ends_a_paused_training(job: TrainingJob) -> None:
    settings = job.recipe.train.model_copy(
        update={"epochs": 9, "patience": 1, "learning_rate": 1e-12, "augment": "none", "mode": "head"}
    )
    head = replace(job, recipe=job.recipe.model_copy(update={"train": settings}))
    actual = train_until(head, 5)
    assert (len(actual.epochs), actual.stopped_early) == (2, True)
    assert len(train(head).epochs) == 2
