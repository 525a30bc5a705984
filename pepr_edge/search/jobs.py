"""Make the jobs of a run's candidates, and run them with progress bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import (
    AFTER_TRAINING,
    WITHOUT_WEIGHTS,
    CandidateFiles,
    CandidateJob,
    JobKind,
    Step,
)
from pepr_edge.progress import ProgressView
from pepr_edge.records import Candidate
from pepr_edge.run_dir.keys import seed_of, train_key
from pepr_edge.run_dir.layout import candidate_folder, repeat_folder
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.metrics import training_metric


def make_job(
    results: Results,
    candidate: Candidate,
    files: CandidateFiles,
    engine: Engine,
    kind: JobKind = "complete",
    until_epoch: int | None = None,
    repeat: int = 0,
) -> CandidateJob:
    """Return a job for a candidate of a run.

    Args:
        results: of the run.
        candidate: to work on.
        files: the prepared images, and weights files.
        engine: that will run the job.
        kind, until_epoch: see `CandidateJob`.
        repeat: the number of the training to make, for the kind "repeat".
    """
    recipe = results.recipe
    folder = candidate_folder(results.folder, candidate)
    key = train_key(candidate, recipe, results.info.data, repeat=repeat)
    if kind in AFTER_TRAINING:
        repeat = results.deployed_repeat(candidate)
        trained = results.exports(candidate)[0].trained
        if trained is not None:
            key = trained.key  # that of a student holds its teacher, too
    if kind == "repeat":
        folder = repeat_folder(folder, repeat)
        recipe = recipe.model_copy(update={"seed": seed_of(recipe, repeat)})
    return CandidateJob(
        kind=kind,
        candidate=candidate,
        recipe=recipe,
        data=str(files.images_of(candidate, results.recipe)),
        weights_file="" if kind in WITHOUT_WEIGHTS else files.weights_of(candidate),
        folder=str(folder),
        train_key=key,
        threads=engine.threads,
        exclusive=engine.exclusive,
        until_epoch=until_epoch,
        repeat=repeat,
    )


def run_jobs(
    jobs: Sequence[CandidateJob],
    engine: Engine,
    label: str,
    view: ProgressView,
    on_done: Callable[[CandidateJob], None] = lambda job: None,
) -> None:
    """Run jobs, with one bar for all of them and one for the steps of the current job.

    Args:
        jobs: to run.
        engine: runs them.
        label: of the bar for all jobs.
        view: shows the bars.
        on_done: called with each job that ended.
    """
    with view.bar(label) as all_jobs, view.bar("getting ready") as steps:
        done: list[CandidateJob] = []
        best: dict[str, float] = {}
        all_jobs.update(0, len(jobs))

        def on_step(job: CandidateJob, step: Step) -> None:
            note = f"{job.label} {step.stage}"
            if step.epochs:
                note += f" epoch {step.epoch}/{step.epochs}"
            if step.best is not None:
                best[job.candidate.id] = step.best
                note += f", best {training_metric(job.recipe.score.performance)} {step.best:.3f}"
            # Steps are counted over all epochs, so that the remaining time is that of the training.
            ended_epochs = max(step.epoch - 1, 0)
            steps.update(ended_epochs * step.total + step.done, max(step.epochs, 1) * step.total, note)

        def finished(job: CandidateJob) -> None:
            done.append(job)
            all_jobs.update(len(done), len(jobs), _best_note(best, job))
            on_done(job)

        engine.run(jobs, on_step, finished)


def _best_note(performances: Mapping[str, float], job: CandidateJob) -> str:
    """Return a note on the best candidate so far; empty without one."""
    if not performances:
        return ""
    name = max(performances, key=lambda name: performances[name])
    metric = training_metric(job.recipe.score.performance)
    return f"best {metric} {performances[name]:.3f} by {name}"
