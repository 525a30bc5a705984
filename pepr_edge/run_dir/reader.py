"""Read a run directory: the records of every candidate and variant, whatever stage each of them reached.

A stored result counts if its key is current (`run_dir.keys`) and its file is there. Reading for a ranking or
a report does not read checkpoints and models: the file must have the recorded size (a checkpoint: any
content). `pepr-edge run` verifies the hashes of all files before it relies on them; writing a bundle verifies
the model that it copies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import RecipeError, RunError
from pepr_edge.recipe import AUTO, FLOAT32, Recipe
from pepr_edge.recipe.settings import ResolvedRecipe, resolve
from pepr_edge.recipe.toml import read as read_toml
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import (
    Artifact,
    Candidate,
    DeviceProfile,
    Failure,
    Ranking,
    RunInfo,
    SearchedCandidate,
    SearchLog,
    Split,
    StepCost,
    TrainResult,
)
from pepr_edge.run_dir.current import (
    current_artifact,
    current_autotune_key,
    current_profiles,
    current_repeats,
    current_search,
    deployed,
    read_failure,
)
from pepr_edge.run_dir.keys import (
    STUDENT,
    export_key,
    profile_key,
    step_cost_key,
    train_key,
)
from pepr_edge.run_dir.layout import (
    LOGITS,
    PREDICTIONS,
    RANKING,
    RECIPE,
    RUN,
    STEP_COST,
    candidate_folder,
    repeat_folder,
)
from pepr_edge.run_dir.positive import artifact_with, differs, training_with
from pepr_edge.run_dir.store import read_current, read_record
from pepr_edge.scoring.fair_cost import FairCost, fair_cost
from pepr_edge.tasks import TaskKind
from pepr_edge.untrusted import npz
from pepr_edge.untrusted.shown import one_line, shown


class MeasuredVariant(NamedTuple):
    """The records of a variant that went through all stages."""

    trained: TrainResult
    artifact: Artifact
    profile: DeviceProfile


@dataclass(frozen=True)
class VariantState:
    """One candidate in one variant, and its progress: trained, exported (`artifact`), measured (`profile`).

    A record is None if its stage is not done; `failure` says why, or `pruned` that it is left out on purpose.
    `repeats` are all trainings of the candidate, in the order of their seeds, and `repeat_folders` their
    folders. `trained` is the one that is deployed: the best on validation. `full_profile` is the measurement
    by the full rules of what is handed over in a bundle, if `profile`, which ranks, is by the adaptive rules.
    `step_cost` is the cost of the candidate's training steps, measured in turn with the other candidates.
    `kind` is that of the run's task.
    """

    candidate: Candidate
    variant: str
    folder: Path
    trained: TrainResult | None
    artifact: Artifact | None
    profile: DeviceProfile | None
    failure: Failure | None
    pruned: SearchedCandidate | None = None
    repeats: tuple[TrainResult, ...] = ()
    repeat_folders: tuple[Path, ...] = ()
    full_profile: DeviceProfile | None = None
    step_cost: StepCost | None = None
    kind: TaskKind = "multiclass"

    @property
    def fair_costs(self) -> tuple[FairCost, ...]:
        """The cost of each repeat, or of the only training, as on an undisturbed machine."""
        only = () if self.trained is None else (self.trained,)
        return tuple(fair_cost(trained, self.step_cost) for trained in self.repeats or only)

    @property
    def training_folder(self) -> Path:
        """The folder of the training that is deployed."""
        for trained, folder in zip(self.repeats, self.repeat_folders, strict=False):
            if trained == self.trained:
                return folder
        return self.folder.parent

    @property
    def measured(self) -> MeasuredVariant | None:
        """All records of a variant that is measured, else None."""
        if self.trained is None or self.artifact is None or self.profile is None:
            return None
        return MeasuredVariant(self.trained, self.artifact, self.profile)

    @property
    def is_autotuned(self) -> bool:
        """True if autotune chooses this variant."""
        return self.folder.name == AUTO

    def predictions(self, *splits: Split) -> dict[str, NDArray[np.float32]]:
        """Read the logits on "val" and "test", shape (n, classes), and "val_labels", "test_labels".

        Args:
            splits: the splits that are wanted; none: all that the file holds.
        Raises:
            RunError: the file is missing or torn.
        """
        names = [name for split in splits for name in (split, f"{split}_labels")]
        return _arrays(self.folder / PREDICTIONS, names)

    def repeat_logits(self, folder: Path) -> dict[str, NDArray[np.float32]]:
        """Read the logits of PyTorch's model of one of its trainings on "val" and "test".

        Args:
            folder: of the training, one of `repeat_folders`.
        Raises:
            RunError: the file is missing or torn.
        """
        return read_logits(folder)


@dataclass(frozen=True)
class Results:
    """All that a run has made.

    `entries` are the variants to be ranked, in the order of the recipe. `unranked` are further exports of its
    training jobs: the float32 files that autotune starts from.
    """

    folder: Path
    recipe: ResolvedRecipe
    info: RunInfo
    entries: tuple[VariantState, ...]
    search: SearchLog | None = None
    unranked: tuple[VariantState, ...] = ()

    def exports(self, candidate: Candidate) -> tuple[VariantState, ...]:
        """Return the variants that the training job of a candidate exports, ranked or not."""
        states = (*self.unranked, *self.entries)
        return tuple(state for state in states if state.candidate == candidate and not state.is_autotuned)

    def trainings(self, candidate: Candidate) -> dict[int, TrainResult]:
        """Return the trainings of a candidate by their repeat; the first is 0."""
        exports = self.exports(candidate)
        repeats = exports[0].repeats if exports else ()
        return {(trained.seed - self.recipe.seed) % 2**32: trained for trained in repeats}

    def deployed_repeat(self, candidate: Candidate) -> int:
        """Return the number of the training that a candidate's exports are made from; 0 if none is there."""
        trained = self.exports(candidate)[0].trained
        if trained is None:
            return 0
        return STUDENT if trained.teacher is not None else (trained.seed - self.recipe.seed) % 2**32

    def float32(self, candidate: Candidate) -> VariantState | None:
        """Return the plain float32 export of a candidate; None if the recipe makes none."""
        return next((state for state in self.exports(candidate) if state.variant == FLOAT32), None)

    def autotuned(self, candidate: Candidate) -> VariantState | None:
        """Return the variant of a candidate that autotune chooses; None if the recipe names its variants."""
        states = (state for state in self.entries if state.candidate == candidate and state.is_autotuned)
        return next(states, None)

    def with_search(self, search: SearchLog | None) -> Results:
        """Return the results with another log of the search."""
        pruned = _pruned(search)
        entries = tuple(replace(entry, pruned=pruned.get(entry.candidate.id)) for entry in self.entries)
        return replace(self, search=search, entries=entries)


def is_pruned(searched: SearchedCandidate, search: SearchLog) -> bool:
    """True if a candidate is not to be trained further: by its verdict, or as the search stopped first."""
    if searched.verdict == "open":
        return bool(search.stopped)
    return searched.verdict in ("dropped", "skipped", "rejected", "failed")


def read_logits(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Read PyTorch's logits of a candidate on "val" and "test", shape (n, classes).

    Raises:
        RunError: the file is missing or torn.
    """
    return _arrays(folder / LOGITS)


def read_ranking(run_dir: Path) -> Ranking:
    """Read the ranking of a finished run.

    Raises:
        RunError: there is none yet, or it cannot be read.
    """
    path = run_dir / RANKING
    if not path.exists():
        raise RunError(
            f"{run_dir}: this run is not finished, so it has no ranking. Run the same `pepr-edge run` "
            "command again: it goes on where it stopped."
        )
    return read_record(path, Ranking)


def load(run_dir: Path, verify: bool = False) -> Results:
    """Read a run directory.

    Args:
        run_dir: made by this or an earlier version of pepr_edge.
        verify: compare the hashes of checkpoints and models with their records, as a run does before it
            continues.
    Raises:
        RunError: it is not a run directory.
    """
    if run_dir.is_file():
        raise RunError(f"{run_dir}: a file, expected a run directory. Give its folder: {run_dir.parent}")
    if not (run_dir / RUN).is_file():
        raise RunError(
            f"{run_dir}: not a run directory (no {RUN}). "
            f"Make one with `pepr-edge run RECIPE --out {run_dir}`."
        )
    info = read_record(run_dir / RUN, RunInfo)
    recipe = _recipe(run_dir, info)
    empty = Results(run_dir, recipe, info, (), current_search(run_dir, info))
    return reread(empty, info.candidates, verify)


def _recipe(run_dir: Path, info: RunInfo) -> ResolvedRecipe:
    """Read the recipe of a run, with the settings that the run chose."""
    written = read_toml(run_dir / RECIPE, Recipe)
    try:
        return resolve(written, info.settings, info.data.kind)
    except RecipeError as error:
        raise RunError(f"{run_dir / RUN}: {error}") from None


def reread(results: Results, candidates: Collection[Candidate], verify: bool = True) -> Results:
    """Return the results with some candidates read again, after jobs worked in their folders."""
    again = {candidate.id for candidate in candidates}
    entries: list[VariantState] = []
    unranked: list[VariantState] = []
    for candidate in results.info.candidates:
        if candidate.id in again:
            ranked, others = _states(results, candidate, verify)
            entries += ranked
            unranked += others
        else:
            entries += [state for state in results.entries if state.candidate == candidate]
            unranked += [state for state in results.unranked if state.candidate == candidate]
    changed = replace(results, entries=tuple(entries), unranked=tuple(unranked))
    return changed.with_search(results.search)


def _states(
    results: Results, candidate: Candidate, verify: bool
) -> tuple[list[VariantState], list[VariantState]]:
    """Read the variants of a candidate: those to be ranked, and the other exports of its training job."""
    recipe = results.recipe
    revisions = results.info.revisions
    folder = candidate_folder(results.folder, candidate)
    of_training = train_key(candidate, recipe, results.info.data, revisions)
    positive = results.info.data.positive_index
    trained, trainings = _trainings(results, candidate, verify)
    failure_keys = {of_training} if trained is None else {of_training, trained.key}
    step_cost = None
    if trained is not None:
        step_cost = read_current(folder / STEP_COST, StepCost, step_cost_key(of_training, trained))

    def state(name: str, key: str) -> VariantState:
        made = _state(results, folder / name, candidate, trained, {*failure_keys, key}, key, verify)
        folders = tuple(repeat_folder(folder, repeat) for repeat in trainings)
        repeats = tuple(trainings.values())
        made = replace(
            made,
            repeats=repeats,
            repeat_folders=folders,
            step_cost=step_cost,
            kind=results.info.data.kind,
        )
        return _of_positive(made, positive)

    exports = {}
    for name in recipe.export.required:
        key = export_key(trained, load_variant(name), recipe, revisions) if trained else of_training
        exports[name] = state(name, key)
    ranked = {name: exports[name] for name in recipe.export.named}
    if recipe.export.auto:
        key = current_autotune_key(folder, trained, recipe, results.info) if trained else of_training
        choice = _as_chosen(state(AUTO, key), exports[FLOAT32])
        ranked[choice.variant] = choice
    others = [export for export in exports.values() if ranked.get(export.variant) is not export]
    return list(ranked.values()), others


def _trainings(
    results: Results, candidate: Candidate, verify: bool
) -> tuple[TrainResult | None, dict[int, TrainResult]]:
    """Read the training of a candidate that is deployed, and all of its seeds by the number of the repeat."""
    data = results.info.data
    folder = candidate_folder(results.folder, candidate)
    stored = current_repeats(folder, candidate, results.recipe, data, results.info.revisions, verify)
    trainings = {repeat: training_with(made, data.positive_index) for repeat, made in stored.items()}
    trained = deployed(trainings.values())
    if results.recipe.train.teacher is not None:
        # Alone or as a student: these are no seeds of one training.
        trainings = {repeat: made for repeat, made in trainings.items() if made == trained}
    return trained, trainings


def _as_chosen(autotuned: VariantState, float32: VariantState) -> VariantState:
    """Return what autotuning made under the name of the variant that it chose."""
    if autotuned.artifact is not None:
        return replace(autotuned, variant=autotuned.artifact.variant)
    if float32.artifact is None:
        # Autotune starts from float32, so without it nothing is chosen.
        return replace(autotuned, failure=autotuned.failure or float32.failure)
    return autotuned


def _of_positive(state: VariantState, positive: int) -> VariantState:
    """Return a variant whose recorded performance refers to this class number as the positive."""
    artifact = state.artifact
    if artifact is None or not differs(artifact, positive):
        return state
    folder = state.training_folder
    before = read_logits(folder) if (folder / LOGITS).is_file() else {}
    return replace(state, artifact=artifact_with(artifact, state.predictions(), before, positive))


def _state(
    results: Results,
    folder: Path,
    candidate: Candidate,
    trained: TrainResult | None,
    failure_keys: Set[str],
    key: str,
    verify: bool,
) -> VariantState:
    """Read a variant's folder. `key` is the key of its artifact, `failure_keys` are those of its failure."""
    artifact = current_artifact(folder, key, verify) if trained is not None else None
    profile = None
    full_profile = None
    keys = set(failure_keys)
    if artifact is not None:
        profile, full_profile = current_profiles(folder, artifact, results.recipe, results.info.revisions)
        keys.add(profile_key(artifact, results.recipe, results.info.revisions))
    failure = None
    if profile is None:
        failure = read_failure(folder, keys) or read_failure(folder.parent, keys)
    return VariantState(
        candidate, folder.name, folder, trained, artifact, profile, failure, full_profile=full_profile
    )


def _pruned(search: SearchLog | None) -> dict[str, SearchedCandidate]:
    """Return the candidates that a search left out, by id."""
    if search is None:
        return {}
    return {searched.candidate: searched for searched in search.candidates if is_pruned(searched, search)}


def _arrays(path: Path, names: Sequence[str] = ()) -> dict[str, NDArray[np.float32]]:
    """Read some arrays of a file; without names, all."""
    try:
        return npz.arrays(path, names)
    except (OSError, KeyError, ValueError) as fault:
        raise RunError(
            f"{shown(str(path))}: cannot be read ({one_line(fault)}). Delete it and run the recipe again."
        ) from None
