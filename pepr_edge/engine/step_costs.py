"""TrainResult -> StepCost: the training steps of a run's candidates, measured in turn by one worker."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pepr_edge.device.cpu import cpu_name
from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateFiles, CandidateJob, Step, StepCostSubject
from pepr_edge.progress import ProgressView
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Failure, TrainResult
from pepr_edge.run_dir.keys import step_cost_key, train_key
from pepr_edge.run_dir.layout import FAILURE, candidate_folder
from pepr_edge.run_dir.reader import Results, VariantState, reread
from pepr_edge.run_dir.store import read_record

# The process is killed after this long: the start, and so much for each candidate.
START_LIMIT_S = 120.0
CANDIDATE_LIMIT_S = 60.0


def measure_step_costs(
    results: Results, files: CandidateFiles, engine: Engine, view: ProgressView
) -> Results:
    """Measure the steps of all trained candidates, unless all of them have a current cost.

    They are measured together, since costs of different minutes cannot be compared. A candidate that was
    trained on a GPU or on another processor has none, nor one whose steps are those of a classifier on cached
    features.
    """
    subjects = []
    is_complete = True
    for candidate in results.info.candidates:
        state = results.exports(candidate)[0]
        if state.trained is not None and _is_comparable(results.recipe, state.trained):
            subjects.append(_subject(results, state, state.trained, files))
            is_complete = is_complete and state.step_cost is not None
    if is_complete:
        return results
    reason = _run_job(results.recipe, subjects, engine, view)
    if reason:
        view.say(f"note: training steps could not be measured in turn ({reason}); the cost is that of epochs")
    return reread(results, [subject.candidate for subject in subjects], verify=False)


def _is_comparable(recipe: ResolvedRecipe, trained: TrainResult) -> bool:
    environment = trained.environment
    keeps_features = recipe.train.mode == "head" and recipe.train.augment == "none"
    return not environment.accelerator and environment.cpu == cpu_name() and not keeps_features


def _subject(
    results: Results, state: VariantState, trained: TrainResult, files: CandidateFiles
) -> StepCostSubject:
    candidate = state.candidate
    of_training = train_key(candidate, results.recipe, results.info.data)
    return StepCostSubject(
        candidate=candidate,
        data=str(files.images_of(candidate, results.recipe)),
        folder=str(candidate_folder(results.folder, candidate)),
        key=step_cost_key(of_training, trained),
        layout=trained.layout,
        precision=trained.precision,
        threads=trained.environment.threads,
    )


def _run_job(
    recipe: ResolvedRecipe, subjects: Sequence[StepCostSubject], engine: Engine, view: ProgressView
) -> str:
    """Have a worker measure candidates, and write a cost.json into the folder of each.

    Returns:
        Why the job failed, in a line; empty if it did not.
    """
    limit_s = START_LIMIT_S + CANDIDATE_LIMIT_S * len(subjects)
    # The recipe's limits are those of one candidate's training.
    limits = recipe.worker.model_copy(update={"time_h": limit_s / 3600, "memory_mib": None})
    first = subjects[0]
    with view.bar("cost of training steps") as bar, tempfile.TemporaryDirectory() as folder:
        job = CandidateJob(
            kind="step_costs",
            candidate=first.candidate,
            recipe=recipe.model_copy(update={"worker": limits}),
            data=first.data,
            folder=folder,
            train_key=first.key,
            threads=engine.threads,
            exclusive=engine.exclusive,
            subjects=tuple(subjects),
        )

        def on_step(job: CandidateJob, step: Step) -> None:
            bar.update(step.done, step.total, step.stage)

        engine.run([job], on_step, lambda job: None)
        failure = Path(folder, FAILURE)
        return read_record(failure, Failure).reason if failure.is_file() else ""
