"""Jobs of a run's candidates, and their running under two bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.progress import ProgressView
from pepr_edge.records import Candidate
from pepr_edge.run_dir.keys import candidate_folder, train_key
from pepr_edge.run_dir.reader import Results


def job_of(
    results: Results, candidate: Candidate, folders: Mapping[int, Path], engine: Engine, **how: Any
) -> CandidateJob:
    """A candidate's job: all of it, unless `how` says what else (see CandidateJob)."""
    return CandidateJob(
        candidate=candidate,
        recipe=results.recipe,
        data=str(folders[candidate.image_size_px]),
        folder=str(candidate_folder(results.folder, candidate)),
        train_key=train_key(candidate, results.recipe, results.info.data),
        threads=engine.threads,
        exclusive=engine.exclusive,
        **how,
    )


def carry_out(
    jobs: Sequence[CandidateJob],
    engine: Engine,
    label: str,
    view: ProgressView,
    on_done: Callable[[CandidateJob], None] = lambda job: None,
) -> None:
    """Run jobs; one bar over them, one over the steps of each."""
    with view.bar(label) as outer, view.bar("getting ready") as inner:
        done: list[CandidateJob] = []
        best: dict[str, float] = {}
        outer.to(0, len(jobs))

        def on_step(job: CandidateJob, step: Step) -> None:
            reached = (
                f", best {job.recipe.score.performance} {step.best:.3f}" if step.best is not None else ""
            )
            at = f" epoch {step.epoch}/{step.epochs}" if step.epochs else ""
            # Over all epochs, so that the time left is that of the training.
            epochs, ended = max(step.epochs, 1), max(step.epoch - 1, 0)
            inner.to(
                ended * step.total + step.done,
                epochs * step.total,
                f"{job.candidate.id} {step.stage}{at}{reached}",
            )
            if step.best is not None:
                best[job.candidate.id] = step.best

        def finished(job: CandidateJob) -> None:
            done.append(job)
            outer.to(len(done), len(jobs), _best(best, job))
            on_done(job)

        engine.run(jobs, on_step, finished)


def _best(reached: Mapping[str, float], job: CandidateJob) -> str:
    """The best of the candidates so far, in words."""
    if not reached:
        return ""
    name = max(reached, key=lambda name: reached[name])
    return f"best {job.recipe.score.performance} {reached[name]:.3f} by {name}"
