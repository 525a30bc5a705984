"""The stored results of a run directory that are current: their keys are right and their files are there."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path

from pepr_edge.errors import PeprError, RunError
from pepr_edge.recipe import AUTO, Recipe
from pepr_edge.recipe.settings import ResolvedTrain
from pepr_edge.records import (
    Artifact,
    Candidate,
    CostProbe,
    DataInfo,
    DeviceProfile,
    Failure,
    Machine,
    RunInfo,
    ScreeningResult,
    SearchLog,
    TrainingState,
    TrainResult,
)
from pepr_edge.run_dir.keys import (
    FIRST,
    STAGE_REVISIONS,
    STUDENT,
    autotune_key,
    profile_key,
    screening_key,
    train_key,
)
from pepr_edge.run_dir.layout import (
    ARTIFACT,
    FAILURE,
    FULL_PROFILE,
    LOGITS,
    MODEL,
    PREDICTIONS,
    PROBE,
    PROFILE,
    SCREENING,
    SEARCH,
    TRAIN_RESULT,
    TRAINING,
    repeat_folder,
    screening_folder,
)
from pepr_edge.run_dir.store import is_intact, read_current, read_record
from pepr_edge.run_dir.training_files import resumable
from pepr_edge.untrusted import npz


def current_screening(
    folder: Path, variant: str, recipe: Recipe, candidate: Candidate, machine: Machine
) -> ScreeningResult | None:
    """Return the screening of a candidate in a variant if it has the current key and is of this machine."""
    key = screening_key(candidate, variant, recipe)
    screening = read_current(screening_folder(folder, variant) / SCREENING, ScreeningResult, key)
    return screening if screening is not None and screening.machine in (None, machine) else None


def is_complete(trained: TrainResult, settings: ResolvedTrain) -> bool:
    """True if a training ended by its last epoch or its patience, so that it cannot go on."""
    own = settings.of_weights(trained.candidate.weights)
    epochs = len(trained.epochs)
    return epochs >= own.epochs or own.is_out_of_patience(epochs, trained.best_epoch)


def current_training(folder: Path, key: str, verify: bool = True) -> TrainResult | None:
    """Return the training of a candidate's folder if it has this key and its checkpoint is there.

    Args:
        folder: of the candidate.
        key: see `train_key`.
        verify: compare the checkpoint's hash with the record, and read the logits if they are there.
    """
    trained = read_current(folder / TRAIN_RESULT, TrainResult, key)
    logits = folder / LOGITS
    if trained is None or (verify and os.path.lexists(logits) and not _has_arrays(logits, verify)):
        return None
    checkpoint = folder / trained.checkpoint
    is_there = is_intact(checkpoint, trained.checkpoint_sha256) if verify else _size_bytes(checkpoint) > 0
    return trained if is_there else None


def current_repeats(
    folder: Path,
    candidate: Candidate,
    recipe: Recipe,
    data: DataInfo,
    revisions: Mapping[str, str] = STAGE_REVISIONS,
    verify: bool = True,
) -> dict[int, TrainResult]:
    """Return the current trainings of a candidate by their repeat, at most as many as the recipe wants.

    Args:
        folder: of the candidate.
        candidate, recipe, data, revisions: that the keys of the trainings are made of.
        verify: compare the hashes of the checkpoints with the records.
    """
    trainings = {}
    for repeat in range(recipe.train.most_repeats):
        of_repeat = repeat_folder(folder, repeat)
        if (of_repeat / TRAIN_RESULT).is_file():
            key = repeat_key(of_repeat, candidate, recipe, data, revisions, repeat)
            trained = current_training(of_repeat, key, verify)
            if trained is not None:
                trainings[repeat] = trained
    return trainings


def repeat_key(
    folder: Path,
    candidate: Candidate,
    recipe: Recipe,
    data: DataInfo,
    revisions: Mapping[str, str],
    repeat: int,
) -> str:
    """Return the key of a repeat that is stored in a folder, finished or not.

    That of a student holds the teacher that its record names. Whether it is still the teacher is for the
    stage that trains students to say.
    """
    is_student = recipe.train.teacher is not None and repeat == STUDENT
    teacher_sha256 = _recorded_teacher(folder) if is_student else None
    return train_key(candidate, recipe, data, revisions, repeat=repeat, teacher_sha256=teacher_sha256)


def _recorded_teacher(folder: Path) -> str | None:
    """Return the hash of the teacher's checkpoint of a stored training, finished or not; None without one."""
    try:
        if (folder / TRAIN_RESULT).is_file():
            teacher = read_record(folder / TRAIN_RESULT, TrainResult).teacher
            return None if teacher is None else teacher.checkpoint_sha256
        return read_record(folder / TRAINING, TrainingState).teacher_sha256
    except PeprError:
        return None


def deployed(trainings: Iterable[TrainResult]) -> TrainResult | None:
    """Return the training to deploy: the best on validation; None without any.

    Of equal ones it is the one with the lower validation loss in its best epoch, then that of the lower seed.
    """
    return max(trainings, key=_precedence, default=None)


def _precedence(trained: TrainResult) -> tuple[float, float]:
    """Return a sort key of trainings, the best last; `max` takes the first, so the lower seed, of equals."""
    recorded = trained.performance.get(f"val_{trained.performance_metric}")
    best = [epoch.val_loss for epoch in trained.epochs if epoch.epoch == trained.best_epoch]
    return (recorded.value if recorded else -math.inf), -min(best, default=math.inf)


def current_autotune_key(folder: Path, trained: TrainResult, recipe: Recipe, info: RunInfo) -> str:
    """Return the key of a candidate's autotuned variant.

    A finished run of an earlier version chose among the variants of that version, which are not known here.
    Its choice has the key that was stored with it.

    Args:
        folder: of the candidate.
        trained, recipe, info: that the key is made of.
    """
    is_earlier = info.revisions.get("autotune", FIRST) != STAGE_REVISIONS["autotune"]
    if is_earlier and info.status == "finished":
        with suppress(RunError):
            return read_record(folder / AUTO / ARTIFACT, Artifact).key
    return autotune_key(trained, recipe, info.revisions)


def current_profiles(
    folder: Path, artifact: Artifact, recipe: Recipe, revisions: Mapping[str, str]
) -> tuple[DeviceProfile | None, DeviceProfile | None]:
    """Return the profile of an artifact, and the one by the full rules beside an adaptive one.

    Where the recipe asks for the adaptive rules, a measurement by the full rules serves too: it is longer. So
    runs of version 0.1.0, whose default were the full rules, stay readable.

    Args:
        folder: of the variant.
        artifact, recipe, revisions: that the keys of the profiles are made of.
    """
    profile = read_current(folder / PROFILE, DeviceProfile, profile_key(artifact, recipe, revisions))
    if recipe.profile.rules != "adaptive":
        return profile, None
    full_key = profile_key(artifact, recipe, revisions, rules="full")
    if profile is None:
        return read_current(folder / PROFILE, DeviceProfile, full_key), None
    return profile, read_current(folder / FULL_PROFILE, DeviceProfile, full_key)


def current_training_state(folder: Path, key: str) -> TrainingState | None:
    """Return the unfinished training of a candidate's folder if it has this key and can go on, else None."""
    return resumable(folder, key)


def current_cost_probe(folder: Path, key: str) -> CostProbe | None:
    """Return the cost probe of a candidate's folder if it has this key."""
    return read_current(folder / PROBE, CostProbe, key)


def current_search(run_dir: Path, info: RunInfo) -> SearchLog | None:
    """Return the log of the search in a run directory if it is of this run."""
    return read_current(run_dir / SEARCH, SearchLog, info.key)


def current_artifact(folder: Path, key: str, verify: bool = True) -> Artifact | None:
    """Return the artifact of a variant's folder if it has this key and its files are there.

    Args:
        folder: of the variant.
        key: see `export_key`.
        verify: compare the model's hash with the record, not only its size, and read the predictions.
    """
    artifact = read_current(folder / ARTIFACT, Artifact, key)
    if artifact is None or not _has_arrays(folder / PREDICTIONS, verify):
        return None
    model = folder / MODEL
    is_there = is_intact(model, artifact.sha256) if verify else _size_bytes(model) == artifact.size_bytes
    return artifact if is_there else None


def _has_arrays(path: Path, verify: bool) -> bool:
    """True if there is a file of arrays, with `verify` one that can be read."""
    if not verify:
        return path.is_file()
    try:
        npz.arrays(path)
    except (OSError, ValueError, KeyError):
        return False
    return True


def _size_bytes(path: Path) -> int:
    """Return the size of a file; 0 if there is none."""
    return path.stat().st_size if path.is_file() else 0


def read_failure(folder: Path, keys: Set[str]) -> Failure | None:
    """Return the failure in a folder if it has one of these keys."""
    try:
        failure = read_record(folder / FAILURE, Failure)
    except RunError:
        return None
    return failure if failure.key in keys else None
