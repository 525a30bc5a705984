"""What a run directory holds, read back: the records of every candidate and variant, whatever stage each got to."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import RunError
from pepr_edge.recipe import AUTO, FLOAT32, Recipe, Train
from pepr_edge.recipe.toml import read as read_toml
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import (
    Artifact,
    Candidate,
    CostProbe,
    DeviceProfile,
    Estimate,
    Failure,
    Machine,
    Ranking,
    RunInfo,
    ScreeningResult,
    SearchedCandidate,
    SearchLog,
    Split,
    TrainingState,
    TrainResult,
)
from pepr_edge.run_dir.keys import (
    SCREENING,
    SCREENINGS,
    autotune_key,
    candidate_folder,
    export_key,
    profile_key,
    screening_key,
    train_key,
)
from pepr_edge.run_dir.layout import SEARCH
from pepr_edge.run_dir.store import LOGITS, is_whole, read_current, read_record
from pepr_edge.run_dir.training_files import PROBE, resumable
from pepr_edge.scoring.intervals import estimate
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.scoring.resources import Used, of_device, of_training


@dataclass(frozen=True)
class VariantState:
    """One candidate in one variant. What is None did not get done; `failure` says why, or `pruned` that it was not to be."""

    candidate: Candidate
    variant: str
    folder: Path
    trained: TrainResult | None
    artifact: Artifact | None
    profile: DeviceProfile | None
    failure: Failure | None
    pruned: SearchedCandidate | None = None

    def predictions(self) -> dict[str, NDArray[np.float32]]:
        """Logits of the ONNX file on "val" and "test", shape (n, classes), with "val_labels" and "test_labels".

        Raises:
            RunError: the file is missing or torn.
        """
        return _arrays(self.folder / "predictions.npz")


@dataclass(frozen=True)
class Results:
    """All entries of a run, in the order of the recipe."""

    folder: Path
    recipe: Recipe
    info: RunInfo
    entries: tuple[VariantState, ...]
    search: SearchLog | None = None


def performance(entry: VariantState, metric: str, split: Split) -> Estimate | None:
    """A metric of an entry's ONNX file on "val" or "test": as recorded, else from its predictions.

    None where there is no file, or the split does not define the metric.
    """
    if entry.artifact is None:
        return None
    if (
        recorded := entry.artifact.performance.get(metric if split == "test" else f"{split}_{metric}")
    ) is not None:
        return recorded
    logits = entry.predictions()
    return (
        estimate(metric, logits[split], logits[f"{split}_labels"].astype(np.int64), split)
        if split in logits
        else None
    )


def used(entry: VariantState, images: int | None) -> Used:
    """What a model's training and its deployment used: resources in SI units by name, and how each was obtained.

    Values are to be compared where their methods are the same: a counter's energy not with a declared one, nor the CO2eq of the two, and
    memory of a GPU not with that of a process. `inference_energy`, of one answer, comes beside the resources of a score.

    Args:
        entry: one candidate in one variant.
        images: of its training split; None where that is not known.
    """
    values: dict[str, float | None] = dict.fromkeys((*RESOURCES, "inference_energy"))
    methods: dict[str, str] = {}
    if entry.trained is not None:
        more, how = of_training(entry.trained.cost, images)
        values, methods = values | more, methods | how
    if entry.profile is not None:
        more, how = of_device(entry.profile)
        values, methods = values | more, methods | how
    return values, methods


def current_screening(
    folder: Path, variant: str, recipe: Recipe, candidate: Candidate, machine: Machine
) -> ScreeningResult | None:
    """The first look at a candidate in a variant, if it was taken on this machine with these inputs."""
    found = read_current(
        folder / SCREENINGS / variant / SCREENING, ScreeningResult, screening_key(candidate, variant, recipe)
    )
    return found if found is not None and found.machine in (None, machine) else None


def is_complete(trained: TrainResult, settings: Train) -> bool:
    """Whether a training ended by itself: with its last epoch, or by its patience. Else it was concluded early, and can go on."""
    epochs = len(trained.epochs)
    return epochs >= settings.epochs or epochs - trained.best_epoch >= settings.patience


def current_training(folder: Path, key: str) -> TrainResult | None:
    """The training of a candidate's folder if it was made from these inputs and its checkpoint is whole."""
    trained = read_current(folder / "train.json", TrainResult, key)
    return (
        trained
        if trained is not None and is_whole(folder / trained.checkpoint, trained.checkpoint_sha256)
        else None
    )


def current_training_state(folder: Path, key: str) -> TrainingState | None:
    """How far the training of a candidate's folder is, if it was made from these inputs and can go on; None once it is finished, too."""
    return resumable(folder, key)


def current_cost_probe(folder: Path, key: str) -> CostProbe | None:
    """What an epoch of a candidate would cost, if that was probed with these inputs."""
    return read_current(folder / PROBE, CostProbe, key)


def current_search(run_dir: Path, info: RunInfo) -> SearchLog | None:
    """What a search decided in a run directory, if it was for this run."""
    return read_current(run_dir / SEARCH, SearchLog, info.key)


def is_pruned(one: SearchedCandidate, search: SearchLog) -> bool:
    """Whether a candidate's training is not to be ended: it is out, or the search stopped before it was its turn."""
    return one.verdict in ("dropped", "skipped", "rejected", "failed") or (
        one.verdict == "open" and bool(search.stopped)
    )


def current_artifact(folder: Path, key: str) -> Artifact | None:
    """The artifact of a variant's folder if it was made from these inputs and its file is whole."""
    artifact = read_current(folder / "export.json", Artifact, key)
    whole = (
        artifact is not None
        and is_whole(folder / "model.onnx", artifact.sha256)
        and (folder / "predictions.npz").is_file()
    )
    return artifact if whole else None


def entries(run_dir: Path, recipe: Recipe, info: RunInfo) -> Iterator[VariantState]:
    """Read what is to be ranked of each candidate, made from this recipe and data: the variants named, and the one that a ladder chose."""
    for candidate in info.candidates:
        made = exported(run_dir, recipe, info, candidate)
        ranked = {name: made[name] for name in recipe.export.named}
        if recipe.export.auto:
            found = chosen(run_dir, recipe, info, candidate)
            ranked[found.variant] = found
        yield from ranked.values()


def exported(run_dir: Path, recipe: Recipe, info: RunInfo, candidate: Candidate) -> dict[str, VariantState]:
    """The variants of a candidate that are made whatever comes out, by name; those for a ladder too, ranked or not."""
    folder, wanted = (
        candidate_folder(run_dir, candidate),
        train_key(candidate, recipe, info.data, info.pepr_edge),
    )
    trained = current_training(folder, wanted)
    keys = {
        name: export_key(trained, load_variant(name), recipe) if trained else wanted
        for name in recipe.export.made
    }
    return {
        name: _entry(folder / name, recipe, candidate, trained, {wanted, key}, key)
        for name, key in keys.items()
    }


def chosen(run_dir: Path, recipe: Recipe, info: RunInfo, candidate: Candidate) -> VariantState:
    """The variant that a candidate's ladder chose; named "auto" where none is chosen yet."""
    folder, wanted = (
        candidate_folder(run_dir, candidate),
        train_key(candidate, recipe, info.data, info.pepr_edge),
    )
    trained = current_training(folder, wanted)
    key = autotune_key(trained, recipe) if trained is not None else wanted
    entry = _entry(folder / AUTO, recipe, candidate, trained, {wanted, key}, key)
    if entry.artifact is not None:
        return replace(entry, variant=entry.artifact.variant)
    # What keeps float32 from being made keeps all else.
    plain = exported(run_dir, recipe, info, candidate)[FLOAT32]
    return entry if plain.artifact is not None else replace(entry, failure=entry.failure or plain.failure)


def _entry(
    folder: Path, recipe: Recipe, candidate: Candidate, trained: TrainResult | None, keys: Set[str], key: str
) -> VariantState:
    """What is there in a variant's folder; `keys` are those that a failure of it may have, `key` is that of its artifact."""
    artifact = current_artifact(folder, key) if trained is not None else None
    of_profile = profile_key(artifact, recipe) if artifact is not None else ""
    profile = (
        read_current(folder / "profile.json", DeviceProfile, of_profile) if artifact is not None else None
    )
    current = {*keys, *([of_profile] if of_profile else [])}
    failure = None if profile else _failure(folder, current) or _failure(folder.parent, current)
    return VariantState(candidate, folder.name, folder, trained, artifact, profile, failure)


def read_logits(folder: Path) -> dict[str, NDArray[np.float32]]:
    """PyTorch's logits of a candidate on "val" and "test", shape (n, classes).

    Raises:
        RunError: the file is missing or torn.
    """
    return _arrays(folder / LOGITS)


def _arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as fault:
        raise RunError(
            f"{path}: cannot be read ({type(fault).__name__}). Delete it and run the recipe again."
        ) from None


def _failure(folder: Path, keys: Set[str]) -> Failure | None:
    """What went wrong there, if it was made from the same inputs."""
    try:
        failure = read_record(folder / "failure.json", Failure)
    except RunError:
        return None
    return failure if failure.key in keys else None


def read_ranking(run_dir: Path) -> Ranking:
    """The ranking of a finished run.

    Raises:
        RunError: there is none yet, or it cannot be read.
    """
    path = run_dir / "ranking.json"
    if not path.exists():
        raise RunError(
            f"{run_dir}: this run is not finished, so it has no ranking. Go on with it: the same `pepr-edge run` command again."
        )
    return read_record(path, Ranking)


def load(run_dir: Path) -> Results:
    """Read a run directory.

    Raises:
        RunError: it is not one.
    """
    if not (run_dir / "run.json").is_file():
        raise RunError(
            f"{run_dir}: not a run directory (no run.json). Make one with `pepr-edge run RECIPE --out {run_dir}`."
        )
    info = read_record(run_dir / "run.json", RunInfo)
    recipe = read_toml(run_dir / "recipe.toml", Recipe)
    search = current_search(run_dir, info)
    pruned = {one.candidate: one for one in search.candidates if is_pruned(one, search)} if search else {}
    found = (
        replace(entry, pruned=pruned.get(entry.candidate.id)) for entry in entries(run_dir, recipe, info)
    )
    return Results(run_dir, recipe, info, tuple(found), search)
