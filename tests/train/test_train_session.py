"""Trainings that are interrupted, paused, concluded early, or only probed. As processes that are killed: test_engine_local.py."""

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

from pepr_edge.data import Dataset
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, CostProbe, ProbeResult, TrainingState, TrainResult
from pepr_edge.run_dir.reader import current_cost_probe, current_training, current_training_state
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.train import cost_tracker, session
from pepr_edge.train.session import TrainingTask
from pepr_edge.train.step import Mode
from pepr_edge.train.train import TIMED_STEPS, probe_cost, train, train_until

CANDIDATE = Candidate(architecture="test_efficientnet", image_size_px=32, in_channels=1, num_classes=2)
MODE = Mode("channels_last", "bfloat16")
IMAGES, STEPS = 45, 3  # of an epoch


class PowerCut(Exception):  # noqa: N818
    """Everything stops."""


@pytest.fixture
def task(
    recipe: Callable[..., Recipe], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainingTask:
    """Three epochs of three steps in a mode that no clock chooses; the account is written down at every step."""
    monkeypatch.setattr(cost_tracker, "PERIOD_S", 0.0)
    monkeypatch.setattr(
        session,
        "probe",
        lambda *_: (MODE, [ProbeResult(layout=MODE.layout, precision=MODE.precision, images_per_s=1.0)]),
    )
    settings = {"epochs": 3, "batch_size": 16, "device": "cpu", "learning_rate": 0.01}
    chosen = recipe(train=settings, workstation={"watts_per_core": 5.0}, seed=3)
    return TrainingTask(
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
    """Holds what an uninterrupted training comes to, once one has been made."""
    return []


def outcome(result: TrainResult, folder: Path) -> tuple[Any, ...]:
    """All of a training but what it cost."""
    epochs = [epoch.model_dump(exclude={"duration_s", "energy_j"}) for epoch in result.epochs]
    with np.load(folder / "logits.npz") as logits:
        return (
            result.checkpoint_sha256,
            {split: logits[split].tobytes() for split in logits},
            epochs,
            result.best_epoch,
        )


def uninterrupted(task: TrainingTask, whole: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    if not whole:
        other = replace(task, folder=task.folder.with_name("whole"))
        whole.append(outcome(train(other), other.folder))
    return whole[0]


def cut(task: TrainingTask, epoch: int, step: int, act: Callable[[TrainingTask], object] = train) -> None:
    """Begin, or go on, until some step; then everything that was not on the disk is gone."""

    def progress(done: int, total: int, at: int, best: float) -> None:
        if (at, done) == (epoch, step):
            raise PowerCut

    with pytest.raises(PowerCut):
        act(replace(task, progress=progress))


def left(task: TrainingTask) -> list[str]:
    return sorted(path.name for path in task.folder.iterdir())


def unprobed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the mode is probed again")

    monkeypatch.setattr(session, "probe", fail)


FINISHED = ["checkpoint.safetensors", "logits.npz", "train.json"]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("epoch", "step"), [pytest.param(1, 1, marks=SLOW), (2, 3), pytest.param(3, 2, marks=SLOW)]
)
def test_an_interrupted_training_ends_as_one_that_was_not(
    task: TrainingTask, whole: list[tuple[Any, ...]], epoch: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(task, whole)
    cut(task, epoch, step)
    states = [] if epoch == 1 else [f"training-{epoch - 1}.pt"]
    assert left(task) == sorted(["spent.json", "training.json", *states])
    unprobed(monkeypatch)
    torch.manual_seed(77)
    begun: list[int] = []
    result = train(replace(task, progress=lambda done, total, at, best: begun.append(at)))
    assert outcome(result, task.folder) == expected
    assert begun == [at for at in range(epoch, 4) for _ in range(STEPS)]
    assert left(task) == FINISHED


def test_what_was_lost_is_in_the_cost(task: TrainingTask) -> None:
    """Twice: 16 images of the second epoch, and 32 of it."""
    cut(task, 2, 1)
    cut(task, 2, 2)
    cost = train(task).cost
    assert cost.images.value == 3 * IMAGES + 16 + 32
    assert cost.images.source.endswith(", of which 48 were lost to 2 interruptions")
    assert " s were lost to 2 interruptions" in cost.duration_s.source
    assert " J were lost to 2 interruptions" in cost.energy_j.source
    assert cost.energy_j.method == "declared"


@SLOW
def test_the_parts_of_the_cost_add_up(task: TrainingTask) -> None:
    cut(task, 2, 2)
    kept = read_record(task.folder / "training.json", TrainingState)
    spent = cost_tracker.read_snapshot(task.folder, "a key")
    assert spent is not None
    result = train(task)
    gone_s = (spent.cost.duration_s.value or 0) - (kept.cost.duration_s.value or 0)
    gone_j = (spent.cost.energy_j.value or 0) - (kept.cost.energy_j.value or 0)
    probe_s = (kept.cost.duration_s.value or 0) - kept.epochs[0].duration_s
    probe_j = (kept.cost.energy_j.value or 0) - (kept.epochs[0].energy_j or 0)
    assert min(gone_s, gone_j, probe_s) > 0
    assert result.cost.duration_s.value == pytest.approx(
        probe_s + gone_s + sum(epoch.duration_s for epoch in result.epochs)
    )
    assert result.cost.energy_j.value == pytest.approx(
        probe_j + gone_j + sum(epoch.energy_j or 0 for epoch in result.epochs)
    )


def test_a_paused_training_ends_as_one_that_was_not_and_lost_nothing(
    task: TrainingTask, whole: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(task, whole)
    first = train_until(task, 1)
    assert (len(first.epochs), first.epochs_wanted, first.best_epoch, first.stopped_early) == (1, 3, 1, False)
    assert left(task) == ["training-1.pt", "training.json"]
    found = current_training_state(task.folder, "a key")
    assert found is not None
    assert found.model_copy(update={"state": None, "state_sha256": None}) == first
    unprobed(monkeypatch)
    second = train_until(task, 2)
    assert second.epochs[:1] == first.epochs
    assert (second.cost.images.value, len(second.epochs)) == (2 * IMAGES, 2)
    result = train(task)
    assert outcome(result, task.folder) == expected
    assert result.cost.images.value == 3 * IMAGES
    assert "lost" not in result.cost.model_dump_json()
    assert (
        (result.cost.duration_s.value or 0)
        > (second.cost.duration_s.value or 0)
        > (first.cost.duration_s.value or 0)
    )


def test_a_training_is_concluded_with_the_best_of_what_there_is(task: TrainingTask) -> None:
    before = train_until(task, 2)

    def none(*_: object) -> None:
        raise AssertionError("another step is taken")

    result = train(replace(task, progress=none), 2)
    assert (result.epochs, result.best_epoch, result.stopped_early) == (
        before.epochs,
        before.best_epoch,
        True,
    )
    assert result.cost.energy_j == before.cost.energy_j
    assert result.performance["val_accuracy"].value == result.epochs[result.best_epoch - 1].val_performance
    assert left(task) == sorted(
        [*FINISHED, "training-2.pt", "training.json"]
    )  # with more to spend it may go on
    assert current_training(task.folder, "a key") == result
    assert current_training_state(task.folder, "a key") is not None


@SLOW
def test_a_training_of_other_inputs_is_not_gone_on_from(task: TrainingTask) -> None:
    train_until(task, 2)
    other = replace(task, key="another key")
    assert current_training_state(task.folder, "another key") is None
    begun: list[int] = []
    result = train_until(replace(other, progress=lambda done, total, at, best: begun.append(at)), 1)
    assert set(begun) == {1}
    assert result.cost.images.value == IMAGES
    assert left(task) == ["training-1.pt", "training.json"]


@pytest.mark.parametrize(
    "tear",
    [
        lambda content: content[:100] + b"?" + content[101:],
        pytest.param(lambda content: content[:-9], marks=SLOW),
        pytest.param(lambda content: b"", marks=SLOW),
    ],
)
def test_a_torn_state_is_never_trusted_yet_its_cost_is(
    task: TrainingTask, tear: Callable[[bytes], bytes]
) -> None:
    before = train_until(task, 1)
    path = task.folder / "training-1.pt"
    path.write_bytes(tear(path.read_bytes()))
    assert current_training_state(task.folder, "a key") is None
    after = train_until(task, 1)
    assert after.cost.images.value == 2 * IMAGES
    assert (after.lost.interruptions, after.lost.images, after.lost.duration_s) == (
        1,
        IMAGES,
        before.cost.duration_s.value,
    )
    assert current_training_state(task.folder, "a key") is not None


def test_a_torn_record_is_begun_anew(task: TrainingTask) -> None:
    train_until(task, 1)
    path = task.folder / "training.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert current_training_state(task.folder, "a key") is None
    assert train_until(task, 1).cost.images.value == IMAGES


class Evil:
    """Would run something where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_a_foreign_state_runs_no_code(task: TrainingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    from pepr_edge.run_dir.store import sha256_file

    train_until(task, 1)
    path = task.folder / "training-1.pt"
    torch.save({"model": Evil()}, path)
    record = read_record(task.folder / "training.json", TrainingState)
    write_record(task.folder / "training.json", record.model_copy(update={"state_sha256": sha256_file(path)}))
    monkeypatch.chdir(task.folder)
    assert train_until(task, 1).lost.interruptions == 1
    assert left(task) == ["training-1.pt", "training.json"]


def test_a_cost_probe_says_what_an_epoch_costs_and_is_counted_once(
    task: TrainingTask, whole: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(task, whole)
    found = probe_cost(task)
    assert left(task) == ["probe.json", "training.json"]
    assert (
        current_cost_probe(task.folder, "a key")
        == found
        == read_record(task.folder / "probe.json", CostProbe)
    )
    assert current_cost_probe(task.folder, "another key") is None
    assert (found.layout, found.precision, found.steps) == (MODE.layout, MODE.precision, TIMED_STEPS)
    assert found.epoch_duration_s.value == pytest.approx(IMAGES / found.images_per_s)
    assert found.epoch_energy_j.method == "declared"
    assert f"scaled from {TIMED_STEPS} steps" in found.epoch_energy_j.source
    spent_s, spent_j = found.cost.duration_s.value or 0, found.cost.energy_j.value or 0
    assert spent_s > TIMED_STEPS * 13 / found.images_per_s
    assert found.peak_memory_bytes.value
    unprobed(monkeypatch)
    result = train(task)
    assert outcome(result, task.folder) == expected
    assert result.cost.duration_s.value == pytest.approx(
        spent_s + sum(epoch.duration_s for epoch in result.epochs)
    )
    assert result.cost.energy_j.value == pytest.approx(
        spent_j + sum(epoch.energy_j or 0 for epoch in result.epochs)
    )
    assert result.cost.images.value == 3 * IMAGES


@SLOW
def test_a_cost_probe_leaves_a_training_under_way_as_it_is(
    task: TrainingTask, whole: list[tuple[Any, ...]]
) -> None:
    expected = uninterrupted(task, whole)
    train_until(task, 1)
    probe_cost(task)
    assert left(task) == ["probe.json", "training-1.pt", "training.json"]
    assert outcome(train(task), task.folder) == expected


def test_an_interrupted_cost_probe_was_spent(task: TrainingTask) -> None:
    cut(task, 0, 4, probe_cost)
    assert left(task) == ["spent.json", "training.json"]
    found = probe_cost(task)
    record = read_record(task.folder / "training.json", TrainingState)
    assert (record.lost.interruptions, record.cost) == (1, found.cost)
    assert record.lost.duration_s > 0


def test_what_a_killed_process_left_behind_is_cleared_away(task: TrainingTask) -> None:
    train_until(task, 1)
    (task.folder / ".training-2.pt.77.tmp").write_bytes(b"half")
    shutil.copy(task.folder / "training-1.pt", task.folder / "training-2.pt")
    train_until(task, 3)
    assert left(task) == ["training-3.pt", "training.json"]
    train(task)
    assert left(task) == FINISHED


def test_patience_ends_a_paused_training_too(task: TrainingTask) -> None:
    settings = task.recipe.train.model_copy(
        update={"epochs": 9, "patience": 1, "learning_rate": 1e-12, "augment": "none", "mode": "head"}
    )
    head = replace(task, recipe=task.recipe.model_copy(update={"train": settings}))
    found = train_until(head, 5)
    assert (len(found.epochs), found.stopped_early) == (2, True)
    assert len(train(head).epochs) == 2
