"""Jobs of a run's candidates, and their running under two bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pepr_edge.engine import local
from pepr_edge.engine.job import Job, Step
from pepr_edge.field.cpu import usable_cores
from pepr_edge.records import Candidate
from pepr_edge.results import Results, candidate_folder, train_key
from pepr_edge.view import View


def job_of(results: Results, candidate: Candidate, folders: Mapping[int, Path], parallel: int, **how: Any) -> Job:
    """A candidate's job: all of it, unless `how` says what else (see Job)."""
    return Job(
        candidate=candidate,
        recipe=results.recipe,
        data=str(folders[candidate.image_size_px]),
        folder=str(candidate_folder(results.folder, candidate)),
        train_key=train_key(candidate, results.recipe, results.info.data),
        threads=max(1, usable_cores() // parallel),
        exclusive=parallel == 1,
        **how,
    )


def carry_out(jobs: Sequence[Job], parallel: int, label: str, view: View, on_done: Callable[[Job], None] = lambda job: None) -> None:
    """Run jobs, so many at once; one bar over them, one over the steps of each."""
    with view.bar(label) as outer, view.bar("epochs") as inner:
        done: list[Job] = []
        outer.to(0, len(jobs))

        def on_step(job: Job, step: Step) -> None:
            best = f", best {job.recipe.score.performance} {step.best:.3f}" if step.best is not None else ""
            at = f" epoch {step.epoch}/{step.epochs}" if step.epochs else ""
            inner.to(step.done, step.total, f"{job.candidate.id} {step.stage}{at}{best}")

        def finished(job: Job) -> None:
            done.append(job)
            outer.to(len(done), len(jobs))
            on_done(job)

        local.run(jobs, parallel, on_step, finished)
